//! What became of one commit of ours, and what is to be done about it: the rules, without any I/O.
//!
//! A commit is *landed* when the branch has it in its history; *superseded* when the branch has left the commit that
//! ours was made on without it, so that it never can land; *declined* when the server says for good that it does not
//! take it. As long as the branch is where ours was made on it, a push that got no answer may still be on its way: the
//! same commit is pushed again, so that it does no harm if both arrive.
//!
//! After everything but a clear yes the branch is looked at, on the side of the server that takes pushes. Words decide
//! only what no look can tell.

use git::object::Oid;
use git::refusal::{Kind, is_rule, of_ref};

/// How often a push is tried again when the server could not lock the branch, though nobody moved it.
const PATIENCE_FOR_BUSY: u32 = 8;

/// What was heard of a push.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Heard {
    /// The branch is at our commit.
    Accepted,
    /// The branch was elsewhere when the push began; nothing was sent.
    Moved,
    /// The server's No to this push.
    Declined(No),
    /// Nothing: an error of the way to the server. Whether the server got the push is another question.
    Fault {
        /// Whether it may have got it.
        sent: bool,
        /// Whether it may go better a little later.
        passes: bool,
    },
}

/// A server's No, in its words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct No {
    /// Its reason for the branch, one line.
    pub reason: String,
    /// What its hooks and it said besides.
    pub words: String,
}

/// Where the branch is, as the side shows that takes pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Seen {
    /// At our commit, or past it.
    Ours,
    /// Past the commit that ours was made on, without ours.
    MovedOn,
    /// Where ours was made on.
    Unmoved,
    /// Somewhere that has neither: it was rewound.
    Rewound,
}

impl Seen {
    /// What the head tells of `ours`, which was made on `base`, as the side shows that takes pushes.
    ///
    /// # Errors
    /// The head, when its history has to be read.
    pub fn at(head: Option<Oid>, base: Oid, ours: Oid) -> Result<Seen, Oid> {
        match head {
            Some(head) if head == ours => Ok(Seen::Ours),
            Some(head) if head == base => Ok(Seen::Unmoved),
            Some(head) => Err(head),
            None => Ok(Seen::Rewound),
        }
    }

    /// What the history tells that is read then. `None` when the view that gives it is behind: it shows `base` still, or
    /// not even that. `head` is what the other side has shown, and `has` tells what is in the history.
    ///
    /// # Errors
    /// Those of `has`.
    pub fn behind<E>(
        view: Oid,
        base: Oid,
        head: Oid,
        has_ours: bool,
        has: impl Fn(Oid) -> Result<bool, E>,
    ) -> Result<Option<Seen>, E> {
        Ok(if has_ours {
            Some(Seen::Ours)
        } else if view == base {
            None
        } else if has(base)? {
            Some(Seen::MovedOn)
        } else if has(head)? {
            Some(Seen::Rewound)
        } else {
            None
        })
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Next {
    /// Push the commit.
    Push,
    /// The same after a pause, which grows with each time in a row.
    PushLater,
    /// The same after a pause for the fault that was heard last, if that is still ridden out.
    PushAfterFault,
    /// The same, and nothing else in the same push.
    PushAlone,
    /// Look where the branch is.
    Look,
    /// It is known.
    Known(Landing),
    /// The fault that was heard last cannot pass, and nothing is left of the push.
    Fail,
}

/// What became of a commit.
#[must_use = "a lost race looks like success unless it is read"]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Landing {
    /// It is on the branch.
    Landed,
    /// It is not, and never will be: somebody else was faster.
    Superseded {
        /// What the server said to our push, if it said no. It may have been for another reason.
        no: Option<No>,
    },
    /// The server does not take it.
    Declined {
        /// Its words.
        no: No,
        /// Whether an earlier push of it got no answer, and may still be on its way.
        may_land: bool,
    },
}

impl Landing {
    /// Whether the commit is on the branch, or may get there yet.
    pub fn may_be_there(&self) -> bool {
        match self {
            Landing::Landed => true,
            Landing::Superseded { .. } => false,
            Landing::Declined { may_land, .. } => *may_land,
        }
    }
}

/// One commit on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    /// Whether a push of it got no answer.
    unanswered: bool,
    /// Whether the server may have seen any of it.
    was_sent: bool,
    /// Whether other refs are to be changed in the same push.
    in_company: bool,
    /// Whether there are commits of others in it.
    with_others: bool,
    /// How often the server was busy.
    busy: u32,
    last: Option<Heard>,
}

impl Flight {
    /// A commit that nobody has pushed yet; that other refs are changed with it, and that others' commits are in the push.
    pub fn new(in_company: bool, with_others: bool) -> (Flight, Next) {
        let flight = Flight {
            unanswered: false,
            was_sent: false,
            in_company: in_company || with_others,
            with_others,
            busy: 0,
            last: None,
        };
        (flight, Next::Push)
    }

    /// A commit that may be on its way from an earlier run.
    pub fn resumed() -> (Flight, Next) {
        let (flight, _) = Flight::new(false, false);
        let flight = Flight {
            unanswered: true,
            was_sent: true,
            ..flight
        };
        (flight, Next::Look)
    }

    /// Takes in what was heard of a push.
    pub fn heard(&mut self, heard: Heard) -> Next {
        let next = match &heard {
            Heard::Accepted => Next::Known(Landing::Landed),
            Heard::Moved if !self.unanswered && !self.was_sent => {
                Next::Known(Landing::Superseded { no: None })
            }
            Heard::Fault {
                sent: false,
                passes: false,
            } if !self.unanswered => Next::Fail,
            Heard::Moved | Heard::Declined(_) | Heard::Fault { .. } => Next::Look,
        };
        self.unanswered |= matches!(heard, Heard::Fault { sent: true, .. });
        self.was_sent |= !matches!(heard, Heard::Moved | Heard::Fault { sent: false, .. });
        self.last = Some(heard);
        next
    }

    /// Takes in what a look showed.
    pub fn seen(&mut self, seen: Seen) -> Next {
        let last = self.last.take();
        let next = match (seen, &last) {
            (Seen::Ours, _) => Next::Known(Landing::Landed),
            // What a rule forbids it forbids wherever the branch is. Otherwise we would go on for ever where the branch
            // moves before each of our pushes.
            (Seen::MovedOn | Seen::Rewound, Some(Heard::Declined(no)))
                if is_rule(&no.reason) && !self.unanswered && !self.with_others =>
            {
                self.declined(no.clone())
            }
            // It may be for what others have in it.
            (Seen::MovedOn | Seen::Rewound, Some(Heard::Declined(no)))
                if is_rule(&no.reason) && self.with_others =>
            {
                Next::Known(Landing::Superseded { no: None })
            }
            (Seen::MovedOn | Seen::Rewound, last) => Next::Known(Landing::Superseded {
                no: match last {
                    Some(Heard::Declined(no)) => Some(no.clone()),
                    _ => None,
                },
            }),
            (Seen::Unmoved, None) => Next::Push,
            (Seen::Unmoved, Some(Heard::Fault { passes: true, .. })) => Next::PushAfterFault,
            (Seen::Unmoved, Some(Heard::Fault { passes: false, .. })) => Next::Fail,
            // It moved away and back between two looks, or something on the way answered for the server.
            (Seen::Unmoved, Some(Heard::Moved | Heard::Accepted)) => Next::PushLater,
            (Seen::Unmoved, Some(Heard::Declined(_))) if self.in_company => {
                (self.in_company, self.with_others) = (false, false);
                Next::PushAlone
            }
            (Seen::Unmoved, Some(Heard::Declined(no))) => match of_ref(&no.reason) {
                Kind::Raced | Kind::Passing if self.busy < PATIENCE_FOR_BUSY => {
                    self.busy += 1;
                    Next::PushLater
                }
                _ => self.declined(no.clone()),
            },
        };
        self.last = last;
        next
    }

    fn declined(&self, no: No) -> Next {
        Next::Known(Landing::Declined {
            no,
            may_land: self.unanswered,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn no(reason: &str) -> Heard {
        Heard::Declined(No {
            reason: reason.to_owned(),
            words: String::new(),
        })
    }

    fn is_superseded(next: &Next) -> bool {
        matches!(next, Next::Known(Landing::Superseded { .. }))
    }

    fn lost() -> Heard {
        Heard::Fault {
            sent: true,
            passes: true,
        }
    }

    #[test]
    fn a_lost_answer_is_found_on_the_branch() {
        let (mut flight, first) = Flight::new(false, false);
        assert_eq!(first, Next::Push);
        assert_eq!(flight.heard(lost()), Next::Look);
        assert_eq!(flight.seen(Seen::Ours), Next::Known(Landing::Landed));
    }

    #[test]
    fn while_the_branch_stays_the_same_commit_is_pushed_again() {
        let (mut flight, _) = Flight::new(false, false);
        for _ in 0..20 {
            assert_eq!(flight.heard(lost()), Next::Look);
            assert_eq!(flight.seen(Seen::Unmoved), Next::PushAfterFault);
        }
        assert_eq!(flight.heard(Heard::Moved), Next::Look, "it may be ours");
        assert!(is_superseded(&flight.seen(Seen::MovedOn)));
    }

    #[test]
    fn a_no_to_this_push_is_none_to_one_that_got_no_answer() {
        let (mut flight, _) = Flight::new(false, false);
        let _ = flight.heard(lost());
        let _ = flight.seen(Seen::Unmoved);
        assert_eq!(flight.heard(no("pre-receive hook declined")), Next::Look);
        assert!(matches!(
            flight.seen(Seen::Unmoved),
            Next::Known(Landing::Declined { may_land: true, .. })
        ));
        assert_eq!(flight.seen(Seen::Ours), Next::Known(Landing::Landed));
    }

    #[test]
    fn a_rule_that_forbids_our_commit_is_told_even_if_the_branch_moves_before_each_push() {
        // Also where our place in a line goes with it.
        for in_company in [false, true] {
            let (mut flight, _) = Flight::new(in_company, false);
            let _ = flight.heard(no("pre-receive hook declined"));
            assert!(matches!(
                flight.seen(Seen::MovedOn),
                Next::Known(Landing::Declined {
                    may_land: false,
                    ..
                })
            ));
        }
    }

    #[test]
    fn a_rule_that_may_forbid_what_others_have_in_a_push_is_none_for_ours() {
        let (mut flight, _) = Flight::new(false, true);
        let _ = flight.heard(no("pre-receive hook declined"));
        let superseded = Landing::Superseded { no: None };
        assert_eq!(flight.seen(Seen::MovedOn), Next::Known(superseded));
    }

    #[test]
    fn words_of_a_lost_race_are_one_where_the_branch_moved_and_a_busy_server_where_it_did_not() {
        for words in ["failed to update ref", "cannot lock ref", "fetch first"] {
            let (mut flight, _) = Flight::new(false, false);
            let _ = flight.heard(no(words));
            assert!(is_superseded(&flight.seen(Seen::MovedOn)));

            let (mut flight, _) = Flight::new(false, false);
            for _ in 0..PATIENCE_FOR_BUSY {
                let _ = flight.heard(no(words));
                assert_eq!(flight.seen(Seen::Unmoved), Next::PushLater);
            }
            let _ = flight.heard(no(words));
            assert!(matches!(
                flight.seen(Seen::Unmoved),
                Next::Known(Landing::Declined { .. })
            ));
        }
    }

    #[test]
    fn what_may_be_for_another_ref_is_tried_alone() {
        let (mut flight, _) = Flight::new(true, false);
        let _ = flight.heard(no("hook declined"));
        assert_eq!(flight.seen(Seen::Unmoved), Next::PushAlone);
        let _ = flight.heard(no("hook declined"));
        assert!(matches!(flight.seen(Seen::Unmoved), Next::Known(_)));
    }

    fn heard() -> impl Strategy<Value = Heard> {
        prop_oneof![
            Just(Heard::Moved),
            Just(no("hook declined")),
            Just(no("failed to update ref")),
            any::<(bool, bool)>().prop_map(|(sent, passes)| Heard::Fault { sent, passes }),
        ]
    }

    fn seen() -> impl Strategy<Value = Seen> {
        prop_oneof![
            Just(Seen::Ours),
            Just(Seen::MovedOn),
            Just(Seen::Unmoved),
            Just(Seen::Rewound)
        ]
    }

    proptest! {
        #[test]
        fn landed_is_said_only_of_what_was_seen_or_accepted_and_superseded_never_of_what_may_land(
            rounds in prop::collection::vec((heard(), seen()), 1..12)
        ) {
            let (mut flight, mut next) = Flight::new(false, false);
            let mut unanswered = false;
            for (heard, seen) in rounds {
                prop_assert!(matches!(next, Next::Push | Next::PushLater | Next::PushAfterFault | Next::PushAlone));
                unanswered |= matches!(heard, Heard::Fault { sent: true, .. });
                next = flight.heard(heard.clone());
                if next == Next::Look {
                    next = flight.seen(seen);
                } else {
                    // Without a look only what was never sent is known.
                    prop_assert!(!unanswered, "{heard:?} {next:?}");
                    break;
                }
                match &next {
                    Next::Known(Landing::Landed) => prop_assert_eq!(seen, Seen::Ours),
                    Next::Known(Landing::Superseded { .. }) => prop_assert!(matches!(seen, Seen::MovedOn | Seen::Rewound)),
                    Next::Known(Landing::Declined { may_land, .. }) => prop_assert_eq!(*may_land, unanswered),
                    Next::Fail => prop_assert_eq!(seen, Seen::Unmoved),
                    _ => continue,
                }
                break;
            }
        }
    }
}
