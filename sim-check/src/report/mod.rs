//! What a person gets to look at.

mod junit;
mod timeline;

pub use junit::junit;
pub use timeline::Timeline;
