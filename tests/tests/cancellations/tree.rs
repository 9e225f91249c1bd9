//! What a task may await, at random.

use proptest::collection::vec;
use proptest::prelude::*;

/// Something to await. Times are milliseconds.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Sleep(u64),
    Turns(u64),
    Forever,
    Fail,
    Timeout(u64, Box<Tree>),
    /// A task.
    Join(Box<Tree>),
    /// A task that is cancelled when so many turns have passed, and then awaited.
    Cancelled(u64, Box<Tree>),
    Shield(Box<Tree>),
    Gather(Vec<Tree>),
    GatherAll(Vec<Tree>),
    /// Tasks and a body; if they are not strict, their failures are none of the group's.
    Group(Failures, Vec<Tree>, Box<Tree>),
    /// It cleans up for so long, and then lets the cancellation go on.
    Catch(u64, Box<Tree>),
    Sequence(Vec<Tree>),
    Select(Box<Tree>, Box<Tree>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failures {
    Strict,
    Ignored,
}

/// A tree in a task of its own, and when that is cancelled.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) tree: Tree,
    /// In halves of a millisecond.
    pub(crate) at: u64,
    /// And so many turns later.
    pub(crate) turns: u64,
    /// And again one turn later.
    pub(crate) twice: bool,
}

impl Tree {
    fn children(&self) -> Vec<&Self> {
        match self {
            Self::Sleep(_) | Self::Turns(_) | Self::Forever | Self::Fail => Vec::new(),
            Self::Timeout(_, one)
            | Self::Join(one)
            | Self::Cancelled(_, one)
            | Self::Shield(one)
            | Self::Catch(_, one) => vec![one],
            Self::Gather(all) | Self::GatherAll(all) | Self::Sequence(all) => all.iter().collect(),
            Self::Group(_, all, body) => all.iter().chain([&**body]).collect(),
            Self::Select(one, two) => vec![one, two],
        }
    }

    pub(crate) fn has(&self, wanted: fn(&Self) -> bool) -> bool {
        wanted(self) || self.children().into_iter().any(|child| child.has(wanted))
    }

    pub(crate) fn catches(&self) -> bool {
        self.has(|tree| matches!(tree, Self::Catch(..)))
    }

    /// Whether a cancellation may rightly come to nothing: in a group that failed (B-39), and where one branch of a
    /// `select` has caught it and the other is done before it has let it go on.
    pub(crate) fn may_swallow(&self) -> bool {
        self.has(|tree| match tree {
            Self::Group(Failures::Strict, ..) => true,
            Self::Select(..) => tree.catches(),
            _ => false,
        })
    }

    /// Whether tasks of its run on when it is cancelled: what is shielded, lost the race of a `select`, is not awaited
    /// yet, or was gathered with one that failed (B-34, B-36).
    pub(crate) fn leaves_tasks(&self) -> bool {
        self.has(|tree| match tree {
            Self::Shield(_) | Self::Select(..) | Self::Cancelled(..) => true,
            Self::Gather(_) => tree.has(|part| matches!(part, Self::Fail | Self::Timeout(..))),
            _ => false,
        })
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        4 => (0..4_u64).prop_map(Tree::Sleep),
        4 => (0..4_u64).prop_map(Tree::Turns),
        1 => Just(Tree::Forever),
        1 => Just(Tree::Fail),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        let one = inner.clone().prop_map(Box::new);
        let some = vec(inner, 1..4);
        let failures = prop_oneof![1 => Just(Failures::Strict), 3 => Just(Failures::Ignored)];
        prop_oneof![
            3 => (0..6_u64, one.clone()).prop_map(|(limit, one)| Tree::Timeout(limit, one)),
            3 => one.clone().prop_map(Tree::Join),
            1 => (0..4_u64, one.clone()).prop_map(|(turns, one)| Tree::Cancelled(turns, one)),
            1 => one.clone().prop_map(Tree::Shield),
            1 => some.clone().prop_map(Tree::Gather),
            1 => some.clone().prop_map(Tree::GatherAll),
            2 => (failures, some.clone(), one.clone())
                .prop_map(|(failures, all, body)| Tree::Group(failures, all, body)),
            2 => (0..4_u64, one.clone()).prop_map(|(time, one)| Tree::Catch(time, one)),
            1 => some.prop_map(Tree::Sequence),
            2 => (one.clone(), one).prop_map(|(one, two)| Tree::Select(one, two)),
        ]
    })
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let case = |(tree, at, turns, twice)| Case { tree, at, turns, twice };
    (trees(), 0..16_u64, 0..4_u64, any::<bool>()).prop_map(case)
}
