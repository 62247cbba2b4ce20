//! How long an abort may take, part by part.
//!
//! Concourse kills what is still there 10 s after it has told it to stop, and a machine may be slow.

use std::time::Duration;

use net::Limits;

/// All of it.
const ALL: Duration = Duration::from_secs(8);

/// How long a push that is under way may still take. Its answer tells more than looking can.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// How long giving back may take.
pub(super) const UNDO: Duration = Duration::from_secs(4);

/// How long one conversation may take while something is given back: a dead connection must leave time for another try.
pub(super) const UNDO_LIMITS: Limits = Limits {
    connect: Duration::from_millis(1500),
    silence: Duration::from_millis(1500),
    attempt: Duration::from_millis(2500),
};

/// How long it is tried to leave the line, whether we were told to stop or not.
pub(super) const LEAVE: Duration = Duration::from_millis(700);

/// How long the gateway has to be told.
pub(super) const TELL: Duration = Duration::from_millis(700);

/// How long what gives a lock back goes on, to come to its end all the same.
pub(crate) const GOES_ON: Duration = Duration::from_secs(4);

const _: () = {
    let claim = GRACE.as_millis() + UNDO.as_millis() + LEAVE.as_millis() + TELL.as_millis();
    assert!(claim < ALL.as_millis());
    // Told in the middle of telling, there is another telling after the giving back.
    let told = TELL.as_millis() + UNDO.as_millis() + LEAVE.as_millis() + TELL.as_millis();
    assert!(told < ALL.as_millis());
    let release = GOES_ON.as_millis() + GRACE.as_millis() + TELL.as_millis();
    assert!(release < ALL.as_millis());
};
