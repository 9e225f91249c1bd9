//! Records in a store: whole ones, in order, however the machine crashed.

use std::cell::{Cell, RefCell};
use std::io;

use sim_core::Store;

use crate::Digest;

/// The bytes before each record's own: their count, and their checksum.
const HEADER_BYTES: usize = 4 + 8;

/// A log of records in a [`Store`].
///
/// A crash may take records that were not synced, from the end, and tear one: what is read back is a
/// prefix of what was appended, with everything in it that was synced.
#[derive(Debug)]
pub(crate) struct Journal {
    store: Store,
    /// How many records were appended, and how many of these are durable.
    appended: Cell<u64>,
    durable: Cell<u64>,
    /// Reused for each record.
    frame: RefCell<Vec<u8>>,
}

impl Journal {
    /// Opens the journal in `store`, and calls `replay` with each record, oldest first. What was read
    /// is durable: the process before may have died between a write and its sync.
    pub(crate) async fn open(store: Store, mut replay: impl FnMut(&[u8])) -> io::Result<Self> {
        let bytes = store.read()?;
        let mut rest = &bytes[..];
        while let Some((record, after)) = split_record(rest) {
            replay(record);
            rest = after;
        }
        if !rest.is_empty() {
            store.set_size((bytes.len() - rest.len()) as u64)?;
        }
        store.sync().await?;
        Ok(Self { store, appended: Cell::new(0), durable: Cell::new(0), frame: RefCell::default() })
    }

    /// Writes a record at the end. A crash takes it back until it is synced.
    pub(crate) fn append(&self, record: &[u8]) -> io::Result<()> {
        let mut frame = self.frame.borrow_mut();
        frame.clear();
        frame.extend((record.len() as u32).to_be_bytes());
        frame.extend(checksum(record).to_be_bytes());
        frame.extend(record);
        self.store.append(&frame)?;
        self.appended.set(self.appended.get() + 1);
        Ok(())
    }

    /// Completes when every record appended before the call is durable.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        let target = self.appended.get();
        if self.durable.get() < target {
            self.store.sync().await?;
            self.durable.set(target.max(self.durable.get()));
        }
        Ok(())
    }
}

/// Not that of an empty record: zeros are no record.
fn checksum(record: &[u8]) -> u64 {
    !Digest::of(record)
}

/// The first record of `bytes`, and what comes after it; `None` if there is none that is whole.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let (length, sum) = header.split_at(4);
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    let (record, rest) = rest.split_at_checked(length)?;
    (sum == checksum(record).to_be_bytes()).then_some((record, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_end_is_no_record_at_any_byte() {
        let mut bytes = Vec::new();
        for record in [&b"one"[..], b"", b"three"] {
            bytes.extend((record.len() as u32).to_be_bytes());
            bytes.extend(checksum(record).to_be_bytes());
            bytes.extend(record);
        }
        let ends = [15, 27, 44];
        for cut in 0..=bytes.len() {
            let (mut rest, mut records) = (&bytes[..cut], 0);
            while let Some((_, after)) = split_record(rest) {
                (rest, records) = (after, records + 1);
            }
            assert_eq!(records, ends.iter().filter(|end| **end <= cut).count(), "{cut}");
        }
        assert!(split_record(&[0; 64]).is_none());
        bytes[13] ^= 1;
        assert!(split_record(&bytes).is_none());
    }
}
