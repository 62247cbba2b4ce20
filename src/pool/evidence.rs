//! Who can say whether the maker of a claim is alive.
//!
//! A [`Witness`] is a CI system. Its answer is one of [`Heard`], which [`reap::judge`](crate::reap::judge) reads: the maker is
//! alive, has ended, or that is not known, each with where it was read.
//!
//! An answer is never an error: whoever asks about many claims goes on with the next.

mod gitlab;

pub use gitlab::Gitlab;

use std::pin::Pin;
use std::time::SystemTime;

use crate::concourse::atc::Atc;
use crate::maker::{Heard, Maker};

/// An answer on its way; `None` when the maker is none that this CI system could know.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Option<Heard>> + 'a>>;

/// A CI system that can be asked about the makers of claims. What it said once it need not be asked again.
pub trait Witness {
    /// What has become of the maker of a claim that was made at that time.
    fn ask<'a>(&'a mut self, maker: &'a Maker, made: SystemTime) -> Answer<'a>;
}

impl Witness for Atc {
    fn ask<'a>(&'a mut self, maker: &'a Maker, made: SystemTime) -> Answer<'a> {
        Box::pin(async move {
            match maker {
                Maker::Build(build) => Some(Atc::ask(self, build, made).await),
                Maker::Job(_) | Maker::Unknown(_) => None,
            }
        })
    }
}

/// Asks whoever could know the maker of a claim that was made at that time.
pub async fn ask(witnesses: &mut [Box<dyn Witness>], maker: &Maker, made: SystemTime) -> Heard {
    for witness in witnesses {
        if let Some(heard) = witness.ask(maker, made).await {
            return heard;
        }
    }
    Heard::Unknown(match maker {
        Maker::Build(_) => "there is no Concourse to ask".to_owned(),
        Maker::Job(_) => "there is no GitLab to ask".to_owned(),
        Maker::Unknown(why) => why.clone(),
    })
}
