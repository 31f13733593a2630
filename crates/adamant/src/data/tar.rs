//! The members of a tar archive in their order, with where each lies.
//!
//! Headers are believed only as far as they can be checked: their sum must be right, and a length must fit into what
//! is there before anything is sized by it. Begin with [`Members`].
//! Source: POSIX.1-1988 `ustar`, POSIX.1-2001 `pax` (`path`, `size`), GNU tar (long names, lengths in base 256).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use thiserror::Error;

pub(super) const BLOCK: usize = 512;

/// Long names and pax headers are read into memory; no honest one is longer.
const LONGEST_EXTENSION: u64 = 1 << 20;

/// What can be wrong with a tar archive; offsets are bytes from its beginning, after decompression.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TarError {
    /// The system or a decompressor refused.
    #[error("tar header at offset {offset}: {source}")]
    Io {
        /// Where.
        offset: u64,
        /// What was said.
        source: io::Error,
    },
    /// Bytes that are no header where one is due.
    #[error("tar header at offset {offset}: {found}, expected {expected}")]
    Header {
        /// Where.
        offset: u64,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// The archive ends before its end marker.
    #[error(
        "tar archive ends at offset {offset}, expected a header or the closing zeros\n  hint: it was cut short"
    )]
    NoEnd {
        /// Its length.
        offset: u64,
    },
    /// A member longer than what is left: the archive was cut short, or the header lies.
    #[error(
        "tar member {member:?} at offset {offset}: {found} bytes are left, expected {expected} (its header)"
    )]
    Truncated {
        /// Its name.
        member: String,
        /// Where its header stands.
        offset: u64,
        /// Bytes there are behind the header.
        found: u64,
        /// Bytes its header says.
        expected: u64,
    },
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A link, device, or another thing without contents of its own.
    Other,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path as written, folders and all.
    pub path: String,
    /// What it is.
    pub kind: MemberKind,
    /// Where its header stands.
    pub header: u64,
    /// Where its contents begin.
    pub start: u64,
    /// Their length.
    pub bytes: u64,
}

/// A reader that can pass over bytes.
pub trait Advance: Read {
    /// Passes over `bytes` bytes, and gives how many of them there were.
    fn advance(&mut self, bytes: u64) -> io::Result<u64>;
}

/// A file whose bytes are read where they are wanted, so that headers cost nothing of what lies between them.
#[derive(Debug)]
pub struct Positioned<'a> {
    file: &'a File,
    length: u64,
    position: u64,
}

impl<'a> Positioned<'a> {
    /// Reads `file` from its beginning.
    pub fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, length: file.metadata()?.len(), position: 0 })
    }
}

impl Read for Positioned<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Advance for Positioned<'_> {
    fn advance(&mut self, bytes: u64) -> io::Result<u64> {
        let there = bytes.min(self.length.saturating_sub(self.position));
        self.position += there;
        Ok(there)
    }
}

/// A stream without positions, such as a decompressor.
#[derive(Debug)]
pub struct Streamed<R>(pub R);

impl<R: Read> Read for Streamed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R: Read> Advance for Streamed<R> {
    fn advance(&mut self, bytes: u64) -> io::Result<u64> {
        io::copy(&mut self.0.by_ref().take(bytes), &mut io::sink())
    }
}

/// The members of an archive, one after the other.
#[derive(Debug)]
pub struct Members<R> {
    reader: R,
    /// Bytes that the reader has given or passed over.
    offset: u64,
    current: Option<Member>,
}

impl<R: Advance> Members<R> {
    /// Reads from the reader's place on.
    pub fn new(reader: R) -> Self {
        Self { reader, offset: 0, current: None }
    }

    /// The next member; `None` behind the last. What is unread of the one before is passed over.
    ///
    /// Errors: each of [`TarError`].
    pub fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        self.pass_over_current()?;
        let (mut path, mut length) = (None, None);
        loop {
            let Some(block) = self.block()? else { return Ok(None) };
            let header = self.offset - BLOCK as u64;
            let bytes = match length {
                Some(length) => length,
                None => number(&block[124..136])
                    .ok_or_else(|| self.refuse(header, "no length", "a length in octal digits"))?,
            };
            let written = match &path {
                Some(path) => String::clone(path),
                None => stored_path(&block),
            };
            let member = |kind| Member { path: written, kind, header, start: self.offset, bytes };
            let found = match block[156] {
                b'0' | b'7' | 0 => member(MemberKind::File),
                b'5' => Member { bytes: 0, ..member(MemberKind::Folder) },
                b'L' => {
                    let name = self.extension(header, bytes)?;
                    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                    path = Some(String::from_utf8_lossy(&name[..end]).into_owned());
                    continue;
                }
                b'x' => {
                    let records = self.extension(header, bytes)?;
                    let pax = |key| pax(&records, key);
                    path = pax("path").or(path);
                    if let Some(written) = pax("size") {
                        length = Some(written.parse().map_err(|_| {
                            self.refuse(header, &format!("size {written:?}"), "a whole number")
                        })?);
                    }
                    continue;
                }
                // Link names and headers for all members: nothing that says where bytes lie.
                b'K' | b'g' => {
                    self.extension(header, bytes)?;
                    continue;
                }
                _ => member(MemberKind::Other),
            };
            self.current = Some(found.clone());
            return Ok(Some(found));
        }
    }

    /// Reads the contents of the member that came last into `into`, which is emptied first.
    ///
    /// Errors: `Truncated`, `Io`. The buffer grows with what is there, not with what the header says.
    pub fn read(&mut self, into: &mut Vec<u8>) -> Result<(), TarError> {
        into.clear();
        let Some(member) = &self.current else { return Ok(()) };
        let left = member.start + member.bytes - self.offset;
        let read = self.reader.by_ref().take(left).read_to_end(into);
        self.offset += into.len() as u64;
        read.map_err(|source| TarError::Io { offset: member.header, source })?;
        if into.len() as u64 == left { Ok(()) } else { Err(truncated(member, into.len() as u64)) }
    }

    fn pass_over_current(&mut self) -> Result<(), TarError> {
        let Some(member) = self.current.take() else { return Ok(()) };
        let end = member.start.checked_add(member.bytes);
        let padded = end.and_then(|end| end.checked_next_multiple_of(BLOCK as u64));
        let (Some(end), Some(padded)) = (end, padded) else { return Err(truncated(&member, 0)) };
        let (wanted, header) = (padded - self.offset, member.header);
        let passed = self.reader.advance(wanted);
        let passed = passed.map_err(|source| TarError::Io { offset: header, source })?;
        self.offset += passed;
        // Some writers leave out the padding behind the last member; then the archive lacks its end as well.
        if self.offset < end {
            return Err(truncated(&member, self.offset - member.start));
        }
        Ok(())
    }

    /// The next block that is a header, its sum checked; `None` at the zeros that close the archive.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let offset = self.offset;
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) => return Err(TarError::NoEnd { offset: offset + filled as u64 }),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Io { offset, source }),
            }
        }
        self.offset += BLOCK as u64;
        if block == [0; BLOCK] {
            return Ok(None);
        }
        // The sum counts its own eight bytes as spaces.
        let own = 148..156;
        let sum = block
            .iter()
            .enumerate()
            .map(|(position, &byte)| u64::from(if own.contains(&position) { b' ' } else { byte }));
        let sum = sum.sum::<u64>();
        match number(&block[own]) {
            Some(written) if written == sum => Ok(Some(block)),
            written => {
                let found = match written {
                    Some(written) => format!("checksum {written}"),
                    None => "no checksum".to_owned(),
                };
                let expected = "the sum of the header's bytes";
                Err(TarError::Header { offset, found, expected })
            }
        }
    }

    fn extension(&mut self, header: u64, bytes: u64) -> Result<Vec<u8>, TarError> {
        if bytes > LONGEST_EXTENSION {
            let found = format!("an extended header of {bytes} bytes");
            return Err(self.refuse(header, &found, "at most a MiB"));
        }
        let member = Member {
            path: "extended header".to_owned(),
            kind: MemberKind::Other,
            header,
            start: self.offset,
            bytes,
        };
        self.current = Some(member);
        let mut contents = Vec::new();
        self.read(&mut contents)?;
        self.pass_over_current()?;
        Ok(contents)
    }

    fn refuse(&self, offset: u64, found: &str, expected: &'static str) -> TarError {
        TarError::Header { offset, found: found.to_owned(), expected }
    }
}

/// The header of a plain file that nobody owns and that was changed at the beginning of time: the same bytes each time.
///
/// The name is of at most 100 bytes and the length below 8 GiB, which are pictures' and labels'.
pub(super) fn plain_header(name: &str, bytes: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    header[..name.len()].copy_from_slice(name.as_bytes());
    for (at, text) in [
        (100, "0000644\0".to_owned()),
        (108, "0000000\0".to_owned()),
        (116, "0000000\0".to_owned()),
        (124, format!("{bytes:011o}\0")),
        (136, "00000000000\0".to_owned()),
        (156, "0".to_owned()),
        (257, "ustar\x0000".to_owned()),
    ] {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn truncated(member: &Member, found: u64) -> TarError {
    TarError::Truncated {
        member: member.path.clone(),
        offset: member.header,
        found,
        expected: member.bytes,
    }
}

fn stored_path(block: &[u8; BLOCK]) -> String {
    let text = |field: &[u8]| {
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    let (name, prefix) = (text(&block[..100]), text(&block[345..500]));
    // GNU's own format has other things in the place of ustar's prefix; its magic ends in a space.
    let has_prefix = &block[257..263] == b"ustar\0" && !prefix.is_empty();
    if has_prefix { format!("{prefix}/{name}") } else { name }
}

/// A number in octal digits or, where GNU tar found those too few, in base 256.
fn number(field: &[u8]) -> Option<u64> {
    if field.len() == 12 && field[0] == 0x80 {
        let (above, digits) = field[1..].split_at(3);
        if above.iter().any(|&byte| byte != 0) {
            return None;
        }
        return Some(digits.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    // An empty field is how some writers spell 0; a sign is no digit.
    if text.is_empty() {
        return Some(0);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str_radix(text, 8).ok())?
}

/// The value of `key` in pax records: `LENGTH KEY=VALUE\n`, the length counting all of it.
fn pax(mut records: &[u8], key: &str) -> Option<String> {
    let mut found = None;
    while !records.is_empty() {
        let space = records.iter().position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
        let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        if &record[..equals] == key.as_bytes() {
            found = Some(String::from_utf8_lossy(&record[equals + 1..]).into_owned());
        }
        records = &records[length..];
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A header whose sum is right.
    pub fn header(name: &str, kind: u8, bytes: u64) -> [u8; BLOCK] {
        let mut header = [0_u8; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(format!("{bytes:011o}\0").as_bytes());
        header[156] = kind;
        seal(&mut header);
        header
    }

    pub fn seal(header: &mut [u8; BLOCK]) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    /// A tar archive of plain files.
    pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, contents) in members {
            tar.extend_from_slice(&header(name, b'0', contents.len() as u64));
            tar.extend_from_slice(contents);
            tar.resize(tar.len().next_multiple_of(BLOCK), 0);
        }
        tar.resize(tar.len() + 2 * BLOCK, 0);
        tar
    }

    fn list(bytes: &[u8]) -> Result<Vec<Member>, TarError> {
        let mut members = Members::new(Streamed(bytes));
        let mut found = Vec::new();
        while let Some(member) = members.next_member()? {
            found.push(member);
        }
        Ok(found)
    }

    #[test]
    fn members_say_where_they_lie_and_what_they_hold() {
        let long = [7; 700];
        let bytes = tar(&[("a/x.jpg", b"abc"), ("empty", b""), ("long", &long)]);
        let members = list(&bytes).unwrap();
        let found: Vec<_> =
            members.iter().map(|m| (&*m.path, m.header, m.start, m.bytes)).collect();
        assert_eq!(
            found,
            [("a/x.jpg", 0, 512, 3), ("empty", 1024, 1536, 0), ("long", 1536, 2048, 700)]
        );
        let mut reader = Members::new(Streamed(&*bytes));
        let mut contents = Vec::new();
        while let Some(member) = reader.next_member().unwrap() {
            reader.read(&mut contents).unwrap();
            assert_eq!(contents, bytes[member.start as usize..][..member.bytes as usize]);
        }
    }

    #[test]
    fn names_longer_than_a_header_are_read_in_all_three_spellings() {
        let long = format!("{}/{}.jpg", "f".repeat(90), "k".repeat(90));
        let mut ustar = header(&long[91..], b'0', 0);
        ustar[257..263].copy_from_slice(b"ustar\0");
        ustar[345..435].copy_from_slice(&long.as_bytes()[..90]);
        seal(&mut ustar);
        let file = header("short", b'0', 0);
        let padded = |mut contents: Vec<u8>| {
            contents.resize(contents.len().next_multiple_of(BLOCK), 0);
            contents
        };
        let gnu = [&header("@LongLink", b'L', 185)[..], &padded(long.clone().into_bytes()), &file]
            .concat();
        let record = format!("195 path={long}\n");
        assert_eq!(record.len(), 195 - 2 + 2);
        let pax = [&header("pax", b'x', 195)[..], &padded(record.into_bytes()), &file].concat();
        for spelled in [ustar.to_vec(), gnu, pax] {
            let members = list(&[spelled, vec![0; 1024]].concat()).unwrap();
            assert_eq!(members.len(), 1);
            assert_eq!(members[0].path, long);
        }
    }

    #[test]
    fn g31_a_header_that_lies_about_a_length_is_found_out() {
        for lie in [1025, 1 << 30, u64::from(u32::MAX) * 2] {
            let bytes = [&header("x.jpg", b'0', lie)[..], &[1; 512], &[0; 1024]].concat();
            let error = list(&bytes).unwrap_err();
            assert!(
                matches!(error, TarError::Truncated { offset: 0, .. } | TarError::NoEnd { .. }),
                "{error}"
            );
        }
        // The largest number that base 256 can spell must not overflow a sum.
        let mut huge = header("x.jpg", b'0', 0);
        huge[124..136].fill(0xff);
        huge[124] = 0x80;
        huge[125..128].fill(0);
        seal(&mut huge);
        let error = list(&[&huge[..], &[0; 1024]].concat()).unwrap_err().to_string();
        assert!(error.contains("\"x.jpg\" at offset 0") && error.contains("left"), "{error}");
        let mut negative = header("x", b'0', 0);
        negative[124..136].copy_from_slice(b"-0000000001\0");
        seal(&mut negative);
        let error = list(&negative).unwrap_err().to_string();
        assert!(error.contains("no length"), "{error}");
        let long = header("x", b'x', 1 << 30);
        let error = list(&long).unwrap_err().to_string();
        assert!(error.contains("extended header"), "{error}");
    }

    #[test]
    fn g31_an_archive_cut_short_anywhere_is_an_error() {
        let bytes = tar(&[("a.jpg", &[1; 600]), ("a.cls", b"1")]);
        let closing = bytes.len() - 2 * BLOCK;
        for length in 0..closing + BLOCK {
            assert!(list(&bytes[..length]).is_err(), "{length}");
        }
        // A byte that means base 256 in a length means nothing in a checksum.
        let mut damaged = bytes.clone();
        damaged[148] = 0x80;
        assert!(list(&damaged).unwrap_err().to_string().contains("no checksum"));
        let mut damaged = bytes;
        damaged[3] ^= 1;
        let error = list(&damaged).unwrap_err().to_string();
        assert!(error.contains("offset 0: checksum"), "{error}");
    }
}
