//! Places of which there are so many, given in the order of arrival.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::oneshot;

/// Places of which there are so many.
#[derive(Clone)]
pub struct Slots(Rc<Inner>);

struct Inner {
    /// Below nothing, where more came from the last run than there are now.
    free: Cell<isize>,
    waiting: RefCell<VecDeque<oneshot::Sender<Slot>>>,
}

/// A place; it is given back when this is dropped.
pub struct Slot(Rc<Inner>);

impl Slots {
    /// So many.
    pub fn new(n: usize) -> Slots {
        Slots(Rc::new(Inner {
            free: Cell::new(isize::try_from(n).unwrap_or(isize::MAX)),
            waiting: RefCell::default(),
        }))
    }

    /// Waits for one.
    pub async fn take(&self) -> Slot {
        loop {
            if self.0.free.get() > 0 && self.0.waiting.borrow().is_empty() {
                return self.force();
            }
            let (give, given) = oneshot::channel();
            self.0.waiting.borrow_mut().push_back(give);
            if let Ok(slot) = given.await {
                return slot;
            }
        }
    }

    /// Takes one, whether there is one or not.
    pub fn force(&self) -> Slot {
        self.0.free.set(self.0.free.get() - 1);
        Slot(self.0.clone())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let inner = &self.0;
        inner.free.set(inner.free.get() + 1);
        // Who does not wait any more gives his place back, and so to the next one.
        while inner.free.get() > 0 {
            let Some(next) = inner.waiting.borrow_mut().pop_front() else {
                return;
            };
            if next.is_closed() {
                continue;
            }
            inner.free.set(inner.free.get() - 1);
            let _ = next.send(Slot(inner.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_never_more_than_there_are_and_those_who_wait_get_them_in_their_order() {
        let slots = Slots::new(1);
        let first = slots.take().await;
        let order = Rc::new(RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        let waits = |n: u32| {
            let (slots, order) = (slots.clone(), order.clone());
            async move {
                let _slot = slots.take().await;
                order.borrow_mut().push(n);
            }
        };
        let given_up = local.spawn_local(waits(0));
        let all = [1, 2, 3].map(|n| local.spawn_local(waits(n)));
        local
            .run_until(async {
                tokio::task::yield_now().await;
                given_up.abort();
                assert!(order.borrow().is_empty());
                drop(first);
                for one in all {
                    assert!(one.await.is_ok());
                }
            })
            .await;

        assert_eq!(*order.borrow(), [1, 2, 3]);
        assert_eq!(slots.0.free.get(), 1);
    }

    #[tokio::test]
    async fn what_came_from_before_counts_though_there_was_no_place_for_it() {
        let slots = Slots::new(1);
        let (one, two) = (slots.force(), slots.force());
        drop(one);
        assert_eq!(slots.0.free.get(), 0);
        drop(two);

        let _slot = slots.take().await;

        assert_eq!(slots.0.free.get(), 0);
    }
}
