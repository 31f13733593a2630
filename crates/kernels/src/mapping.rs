//! Files mapped into memory, read by copying out.
//!
//! A mapped file can be changed or cut short by another process at any time, so no reference into it is ever given out:
//! bytes are copied, and are whatever the file held at that moment. Cutting it short while it is mapped still ends the
//! process with a bus error, which no check can prevent; callers map only files whose length they have just compared
//! with what the file says about itself.

use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw};
use thiserror::Error;

/// A read-only mapping of a whole file.
#[derive(Debug)]
pub struct Mapping {
    raw: MmapRaw,
}

/// Why bytes of a mapping were not given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{length} bytes at offset {offset} asked for, of a mapping of {mapped}")]
pub struct OutOfMapping {
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub length: usize,
    /// The bytes that are mapped.
    pub mapped: usize,
}

impl Mapping {
    /// Maps `file`, which is not empty, at its present length.
    ///
    /// Errors: the system's.
    pub fn new(file: &File) -> io::Result<Self> {
        Ok(Self { raw: MmapOptions::new().map_raw_read_only(file)? })
    }

    /// Bytes that are mapped.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.raw.len() == 0
    }

    /// Copies the bytes from `offset` on.
    ///
    /// Errors: `OutOfMapping` unless all of them are mapped.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), OutOfMapping> {
        let (length, mapped) = (into.len(), self.raw.len());
        let refused = OutOfMapping { offset, length, mapped };
        let Ok(start) = usize::try_from(offset) else { return Err(refused) };
        if start.checked_add(length).is_none_or(|end| end > mapped) {
            return Err(refused);
        }
        // SAFETY: the mapping is `mapped` bytes long and lives as long as `self`; `start + length <= mapped`, checked
        // above. `into` is a distinct, writable allocation of `length` bytes. The source is read through a raw pointer
        // only, so that no reference claims it stays as it is; any byte is a valid `u8`.
        unsafe {
            std::ptr::copy_nonoverlapping(self.raw.as_ptr().add(start), into.as_mut_ptr(), length);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn bytes_are_those_of_the_file_and_none_lie_outside() {
        let mut file = tempfile::tempfile().unwrap();
        let contents: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
        file.write_all(&contents).unwrap();
        let mapping = Mapping::new(&file).unwrap();
        assert_eq!((mapping.len(), mapping.is_empty()), (10_000, false));
        let mut bytes = vec![0; 100];
        mapping.read(4050, &mut bytes).unwrap();
        assert_eq!(bytes, contents[4050..4150]);
        mapping.read(9900, &mut bytes).unwrap();
        mapping.read(10_000, &mut []).unwrap();
        for offset in [9901, 10_000, u64::MAX - 3, u64::MAX] {
            let error = mapping.read(offset, &mut bytes).unwrap_err();
            assert_eq!((error.offset, error.mapped), (offset, 10_000));
        }
    }
}
