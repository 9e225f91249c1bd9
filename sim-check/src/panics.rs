//! Panics of simulated runs: where they happened, and no line on the terminal for each.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    /// The place of the last panic, while a guard listens on this thread.
    static HEARD: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// While it lives, panics on this thread are heard here instead of being printed. Who listened before hears
/// them again afterwards.
pub(crate) struct Listening {
    before: Option<Option<String>>,
}

impl Listening {
    /// Begins to listen. The hook is installed once in a process, and passes on what is not heard.
    pub(crate) fn begin() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                let heard = HEARD.with_borrow_mut(|heard| match heard {
                    None => false,
                    Some(place) => {
                        *place = info.location().map(ToString::to_string);
                        true
                    }
                });
                if !heard {
                    before(info);
                }
            }));
        });
        Self { before: HEARD.replace(Some(None)) }
    }

    /// Where the last panic happened: `file:line:column`. Forgets it.
    pub(crate) fn take_place(&self) -> Option<String> {
        HEARD.with_borrow_mut(|heard| heard.as_mut().and_then(Option::take))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        HEARD.set(self.before.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_panic_is_heard_once() {
        let listening = Listening::begin();
        assert!(panic::catch_unwind(|| panic!("heard")).is_err());
        let place = listening.take_place().unwrap();
        assert!(place.contains("panics.rs"), "{place}");
        assert_eq!(listening.take_place(), None);
    }

    #[test]
    fn who_listens_inside_leaves_what_was_heard_outside() {
        let outside = Listening::begin();
        assert!(panic::catch_unwind(|| panic!("outside")).is_err());
        let inside = Listening::begin();
        assert!(panic::catch_unwind(|| panic!("inside")).is_err());
        assert!(inside.take_place().is_some());
        drop(inside);
        assert!(outside.take_place().is_some());
        assert!(panic::catch_unwind(|| panic!("outside again")).is_err());
        assert!(outside.take_place().is_some());
    }
}
