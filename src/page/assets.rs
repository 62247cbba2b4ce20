//! The style sheet, the script and the icons.
//!
//! Each is under a name that has the hash of its content in it: a browser keeps it for good, and a new one has a new name.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::Mood;

/// Something that pages need.
#[derive(Debug)]
pub struct Asset {
    /// Its name, with its hash.
    pub name: String,
    /// What kind of content it is.
    pub kind: &'static str,
    /// The content.
    pub content: &'static str,
}

/// Below the base of a site, where assets are.
pub const FOLDER: &str = "/assets/";

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

static ALL: LazyLock<[Asset; 5]> = LazyLock::new(|| {
    [
        asset("style", "css", CSS, include_str!("assets/style.css")),
        asset("script", "js", JS, include_str!("assets/script.js")),
        asset("calm", "svg", SVG, include_str!("assets/calm.svg")),
        asset("busy", "svg", SVG, include_str!("assets/busy.svg")),
        asset("bad", "svg", SVG, include_str!("assets/bad.svg")),
    ]
});

fn asset(name: &str, end: &str, kind: &'static str, content: &'static str) -> Asset {
    let hash = Sha256::digest(content);
    let hash: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
    Asset {
        name: format!("{name}.{hash}.{end}"),
        kind,
        content,
    }
}

/// The style sheet.
pub fn style() -> &'static Asset {
    &ALL[0]
}

/// The script.
pub fn script() -> &'static Asset {
    &ALL[1]
}

/// The icon of a page.
pub fn icon(mood: Mood) -> &'static Asset {
    match mood {
        Mood::Calm => &ALL[2],
        Mood::Busy => &ALL[3],
        Mood::Bad => &ALL[4],
    }
}

/// The asset of this name.
pub fn find(name: &str) -> Option<&'static Asset> {
    ALL.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_found_by_its_whole_name_alone() {
        let name = &style().name;
        assert!(
            name.starts_with("style.") && name.ends_with(".css"),
            "{name}"
        );
        assert_eq!(find(name).map(|asset| asset.kind), Some(CSS));
        for wrong in ["style.css", "../lib.rs", ""] {
            assert!(find(wrong).is_none(), "{wrong}");
        }
    }
}
