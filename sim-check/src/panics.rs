//! Panics of simulated runs: where they happened, and no line on the terminal for each.

use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

/// How many panics are remembered, the last ones: what ends a run was seldom thrown long before.
const HEARD_MAX: usize = 32;

thread_local! {
    /// The last panics, while a guard listens on this thread.
    static HEARD: RefCell<Option<Vec<Heard>>> = const { RefCell::new(None) };
}

/// A panic that was heard.
#[derive(Debug)]
struct Heard {
    /// What it says; `None` if its payload is not text.
    message: Option<String>,
    place: String,
}

/// While it lives, panics on this thread are heard here instead of being printed. Who listened before hears
/// them again afterwards.
pub(crate) struct Listening {
    before: Option<Vec<Heard>>,
}

impl Listening {
    /// Begins to listen. The hook is installed once in a process, and passes on what is not heard.
    pub(crate) fn begin() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !HEARD.with_borrow_mut(|heard| heard.as_mut().is_some_and(|all| hear(all, info)))
                {
                    before(info);
                }
            }));
        });
        Self { before: HEARD.replace(Some(Vec::new())) }
    }

    /// Where the last panic happened that says this: `file:line:column`. Others may have been taken by somebody
    /// since, and one that was taken may be what ends a run after all.
    pub(crate) fn place_of(&self, message: &str) -> Option<String> {
        HEARD.with_borrow(|heard| {
            let last = |says: Option<&str>| {
                heard.iter().flatten().rev().find(|panic| panic.message.as_deref() == says)
            };
            last(Some(message)).or_else(|| last(None)).map(|panic| panic.place.clone())
        })
    }
}

/// Remembers a panic, and forgets what says the same, or else the oldest if there are too many. False if its place is not
/// known.
fn hear(all: &mut Vec<Heard>, info: &PanicHookInfo<'_>) -> bool {
    let message = info.payload_as_str().map(str::to_owned);
    let Some(place) = info.location().map(ToString::to_string) else { return false };
    let same = all.iter().position(|known| known.message == message);
    if let Some(old) = same.or((all.len() == HEARD_MAX).then_some(0)) {
        all.remove(old);
    }
    all.push(Heard { message, place });
    true
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
    fn each_panic_has_its_place_whichever_came_last() {
        let listening = Listening::begin();
        let line = line!() + 1;
        assert!(panic::catch_unwind(|| panic!("the first, {}", 1)).is_err());
        assert!(panic::catch_unwind(|| panic!("the second")).is_err());
        assert!(panic::catch_unwind(|| panic::panic_any(3)).is_err());
        let place = |message| listening.place_of(message).expect("it was heard");
        for (message, behind) in [("the first, 1", 0), ("the second", 1), ("no text", 2)] {
            let place = place(message);
            assert!(place.contains(&format!("panics.rs:{}:", line + behind)), "{place}");
        }
        for number in 0..HEARD_MAX {
            assert!(panic::catch_unwind(|| panic!("{number}")).is_err());
        }
        assert_eq!(listening.place_of("the first, 1"), None);
        assert!(listening.place_of("0").is_some());
    }

    #[test]
    fn who_listens_inside_leaves_what_was_heard_outside() {
        let outside = Listening::begin();
        assert!(panic::catch_unwind(|| panic!("outside")).is_err());
        let inside = Listening::begin();
        assert!(panic::catch_unwind(|| panic!("inside")).is_err());
        assert!(inside.place_of("inside").is_some() && inside.place_of("outside").is_none());
        drop(inside);
        assert!(outside.place_of("outside").is_some() && outside.place_of("inside").is_none());
        assert!(panic::catch_unwind(|| panic!("outside again")).is_err());
        assert!(outside.place_of("outside again").is_some());
    }
}
