//! Python pickles read as data: dictionaries, lists, strings, numbers and numpy arrays, and nothing that runs.
//!
//! A pickle is a program for a small stack machine that may call any Python function. Of its opcodes only those that
//! make data are known here, and of the functions they name only the few by which numpy arrays are spelled; these
//! are recognised, never called. Anything else is refused by its opcode and offset. Begin with [`Pickle::read`].
//! Source: CPython, `Lib/pickletools.py`, which documents every opcode.

mod array;
mod error;
mod machine;

pub use array::{Array, Element};
pub use error::PickleError;

use std::borrow::Cow;

/// A pickle's objects; strings and arrays are borrowed from its bytes where they lie there in one piece.
#[derive(Debug)]
pub struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    root: usize,
}

/// One object; others are named by their position.
#[derive(Clone, Debug)]
enum Object<'a> {
    None,
    Integer(i64),
    Float,
    /// `str` or `bytes`: Python 2 wrote both as one.
    Text(Cow<'a, [u8]>),
    List(Vec<usize>),
    Tuple(Vec<usize>),
    Dictionary(Vec<(usize, usize)>),
    Array(Array<'a>),
    Element(Element),
    /// An array between `REDUCE` and `BUILD`.
    Unbuilt,
    Function(Function),
}

/// What may be named by a pickle: the functions that spell arrays and byte strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Reconstruct,
    Ndarray,
    Dtype,
    Scalar,
    FromBuffer,
    Encode,
    Bytes,
}

/// One object of a pickle.
#[derive(Clone, Copy, Debug)]
pub struct Item<'p> {
    pickle: &'p Pickle<'p>,
    position: usize,
}

impl<'a> Pickle<'a> {
    /// Reads all objects of a pickle.
    ///
    /// Errors: `Refused` for code and for kinds of data that are not read, `Broken` for what no pickler writes,
    /// `Truncated`; each names opcode and offset.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        machine::run(bytes)
    }

    /// The pickled object.
    pub fn root(&self) -> Item<'_> {
        Item { pickle: self, position: self.root }
    }
}

impl<'p> Item<'p> {
    /// The value of a dictionary's entry; `None` if it has none of that name, or is no dictionary.
    pub fn entry(self, name: &str) -> Option<Item<'p>> {
        let Object::Dictionary(entries) = self.object() else { return None };
        let is_named = |key: usize| matches!(&self.pickle.objects[key], Object::Text(text) if **text == *name.as_bytes());
        // The last of equal keys wins, as in Python.
        let (_, value) = entries.iter().rev().find(|&&(key, _)| is_named(key))?;
        Some(Item { pickle: self.pickle, position: *value })
    }

    /// The names of a dictionary's entries, in their order; none for anything else.
    pub fn names(self) -> Vec<String> {
        let Object::Dictionary(entries) = self.object() else { return Vec::new() };
        entries.iter().filter_map(|&(key, _)| self.at(key).text()).collect()
    }

    /// A string.
    pub fn text(self) -> Option<String> {
        match self.object() {
            Object::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    /// A list of strings.
    pub fn texts(self) -> Option<Vec<String>> {
        self.items()?.iter().map(|&item| self.at(item).text()).collect()
    }

    /// An array.
    pub fn array(self) -> Option<&'p Array<'p>> {
        match self.object() {
            Object::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Whole numbers: a list or tuple of them, or an array of whole numbers of one dimension.
    pub fn integers(self) -> Option<Vec<i64>> {
        if let Some(array) = self.array() {
            return if array.shape().len() == 1 { array.integers() } else { None };
        }
        let integer = |&item: &usize| match self.at(item).object() {
            Object::Integer(value) => Some(*value),
            _ => None,
        };
        self.items()?.iter().map(integer).collect()
    }

    /// What it is, for messages.
    pub fn kind(self) -> String {
        match self.object() {
            Object::None => "None".to_owned(),
            Object::Integer(_) => "a number".to_owned(),
            Object::Float => "a floating-point number".to_owned(),
            Object::Text(_) => "a string".to_owned(),
            Object::List(items) => format!("a list of {}", items.len()),
            Object::Tuple(items) => format!("a tuple of {}", items.len()),
            Object::Dictionary(_) => format!("a dictionary with {:?}", self.names()),
            Object::Array(array) => format!("an array {:?} of {}", array.shape(), array.element()),
            Object::Element(_) | Object::Unbuilt | Object::Function(_) => {
                "part of an array".to_owned()
            }
        }
    }

    fn items(self) -> Option<&'p [usize]> {
        match self.object() {
            Object::List(items) | Object::Tuple(items) => Some(items),
            _ => None,
        }
    }

    fn at(self, position: usize) -> Self {
        Self { position, ..self }
    }

    fn object(self) -> &'p Object<'p> {
        &self.pickle.objects[self.position]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pickles");
        fs::read(folder.join(name)).unwrap()
    }

    const READABLE: [&str; 5] = [
        "python2.pickle",
        "protocol2.pickle",
        "protocol3.pickle",
        "protocol4.pickle",
        "protocol5.pickle",
    ];

    #[test]
    fn g31_every_protocol_and_python_2_give_the_same_batch() {
        for name in READABLE {
            let bytes = fixture(name);
            let pickle = Pickle::read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let root = pickle.root();
            assert_eq!(root.names(), ["batch_label", "labels", "data", "filenames"], "{name}");
            assert_eq!(root.entry("labels").unwrap().integers().unwrap(), [3, 8], "{name}");
            assert_eq!(root.entry("filenames").unwrap().texts().unwrap(), ["a.png", "b.png"]);
            let array = root.entry("data").unwrap().array().unwrap();
            assert_eq!(array.shape(), [2, 3072], "{name}");
            let expected: Vec<u8> = (0..2)
                .flat_map(|i| (0..3072).map(move |p| ((31 * i + 7 * p) % 256) as u8))
                .collect();
            assert_eq!(array.unsigned_bytes().unwrap(), expected, "{name}");
            assert!(root.entry("absent").is_none());
        }
    }

    #[test]
    fn g31_a_pickle_with_code_in_it_is_refused_by_opcode_and_offset() {
        for (name, opcode, word) in [
            ("runs-code.pickle", "STACK_GLOBAL", "names the code posix.system"),
            ("imports.pickle", "GLOBAL", "names the code __builtin__.__import__"),
            ("objects.pickle", "REDUCE", "numpy type \"O8\""),
        ] {
            let bytes = fixture(name);
            let error = Pickle::read(&bytes).unwrap_err();
            assert!(matches!(error, PickleError::Refused { .. }), "{name}: {error}");
            let message = error.to_string();
            assert!(message.contains(word), "{name}: {message}");
            assert!(message.contains(&format!("pickle opcode {opcode} at offset ")), "{message}");
        }
        assert!(!Path::new("executed").exists());
    }

    #[test]
    fn opcodes_that_would_call_something_are_refused_wherever_they_stand() {
        for opcode in [b'i', b'o', b'P', b'Q', 0x81, 0x82, 0x83, 0x84, 0x92, 0x97, 0x98, 0x8f, 0xff]
        {
            let error = Pickle::read(&[0x80, 2, b'N', opcode, b'N', b'.']).unwrap_err();
            assert!(
                matches!(error, PickleError::Refused { offset: 3, .. }),
                "{opcode:#04x}: {error}"
            );
        }
        // A known function in the place of a list, and a list in the place of a function.
        for program in [&b"\x80\x02cnumpy\nndarray\n]b."[..], b"\x80\x02])R.", b"\x80\x02]})b."] {
            assert!(Pickle::read(program).is_err());
        }
    }

    #[test]
    fn g31_a_pickle_cut_short_anywhere_is_an_error() {
        for name in READABLE {
            let whole = fixture(name);
            for length in (0..whole.len()).filter(|length| length % 97 == 0 || *length < 400) {
                let error = Pickle::read(&whole[..length]).unwrap_err();
                assert!(matches!(error, PickleError::Truncated { .. }), "{name} {length}: {error}");
            }
        }
    }

    #[test]
    fn strings_copied_over_and_over_do_not_fill_the_memory() {
        let mut program = b"\x80\x02c_codecs\nencode\nq\x00X\x00\x10\x00\x00".to_vec();
        program.extend([b'a'; 4096]);
        program.extend(b"q\x01");
        for _ in 0..1000 {
            program.extend(b"h\x00h\x01h\x01\x86R");
        }
        program.push(b'.');
        let error = Pickle::read(&program).unwrap_err().to_string();
        assert!(error.contains("over and over"), "{error}");
    }

    #[test]
    fn a_list_that_contains_itself_is_read_without_end() {
        let pickle = Pickle::read(b"\x80\x02]q\x00h\x00a.").unwrap();
        assert_eq!(pickle.root().kind(), "a list of 1");
        assert_eq!(pickle.root().integers(), None);
    }
}
