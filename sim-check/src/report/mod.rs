//! What a person gets to look at.

mod timeline;

pub use timeline::Timeline;
