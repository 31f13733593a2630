//! The stack machine that a pickle is written for, without the instructions that call anything.

use std::borrow::Cow;
use std::collections::HashMap;

use super::array::{Array, Element};
use super::error::PickleError;
use super::{Function, Object, Pickle};

/// The highest protocol there is, of Python 3.8 and later.
const PROTOCOL: u8 = 5;

/// Copies of strings may take this many times the pickle's length: one opcode may copy a string of any length, so that
/// a few bytes, repeated, would otherwise fill the memory.
const COPIES: usize = 4;

pub(super) fn run(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    let mut machine = Machine {
        bytes,
        next: 0,
        opcode: Opcode { name: "PROTO", offset: 0 },
        objects: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
    };
    loop {
        if let Some(root) = machine.step()? {
            return Ok(Pickle { objects: machine.objects, root });
        }
    }
}

#[derive(Clone, Copy)]
struct Opcode {
    name: &'static str,
    offset: usize,
}

struct Machine<'a> {
    bytes: &'a [u8],
    next: usize,
    opcode: Opcode,
    objects: Vec<Object<'a>>,
    stack: Vec<usize>,
    /// Heights of the stack at which a `MARK` stands.
    marks: Vec<usize>,
    memo: HashMap<usize, usize>,
    copied: usize,
}

impl<'a> Machine<'a> {
    /// One opcode; the root object after the last.
    fn step(&mut self) -> Result<Option<usize>, PickleError> {
        self.opcode = Opcode { name: "STOP", offset: self.next };
        let byte = self.take(1)?[0];
        self.opcode.name = name(byte).ok_or_else(|| PickleError::Refused {
            opcode: format!("{byte:#04x}"),
            offset: self.opcode.offset,
            what: "is none that a data set needs".to_owned(),
        })?;
        match byte {
            0x80 => match self.take(1)?[0] {
                2..=PROTOCOL => {}
                other => return Err(self.broken(format!("protocol {other}"), "2 to 5")),
            },
            // A frame announces bytes that follow; they are checked when they are read.
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'N' => self.push(Object::None),
            0x88 => self.push(Object::Integer(1)),
            0x89 => self.push(Object::Integer(0)),
            b'K' => self.push_number::<1>(false)?,
            b'M' => self.push_number::<2>(false)?,
            b'J' => self.push_number::<4>(true)?,
            0x8a => self.push_long()?,
            b'G' => {
                self.take(8)?;
                self.push(Object::Float);
            }
            b'U' | b'C' | 0x8c => self.push_text::<1>()?,
            b'T' | b'B' | b'X' => self.push_text::<4>()?,
            0x8d | 0x8e | 0x96 => self.push_text::<8>()?,
            b']' => self.push(Object::List(Vec::new())),
            b'}' => self.push(Object::Dictionary(Vec::new())),
            b')' => self.push(Object::Tuple(Vec::new())),
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x85..=byte {
                    items.insert(0, self.pop()?);
                }
                self.push(Object::Tuple(items));
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Object::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&items)?;
            }
            b'q' => self.memoize::<1>()?,
            b'r' => self.memoize::<4>()?,
            0x94 => {
                let top = self.top()?;
                self.memo.insert(self.memo.len(), top);
            }
            b'h' => self.recall::<1>()?,
            b'j' => self.recall::<4>()?,
            b'c' => {
                let (module, function) = (self.line()?, self.line()?);
                self.push_function(&module, &function)?;
            }
            0x93 => {
                let (function, module) = (self.pop()?, self.pop()?);
                let (module, function) = (self.spelled(module)?, self.spelled(function)?);
                self.push_function(&module, &function)?;
            }
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            _ => return Err(self.refused("would run code or name data outside the file")),
        }
        Ok(None)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let end = self.next.checked_add(length).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(PickleError::Truncated {
            length: self.bytes.len(),
            offset: self.opcode.offset,
        })?;
        let taken = &self.bytes[self.next..end];
        self.next = end;
        Ok(taken)
    }

    fn number<const BYTES: usize>(&mut self) -> Result<usize, PickleError> {
        let taken = self.take(BYTES)?;
        let value = taken.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        usize::try_from(value).map_err(|_| self.broken(value.to_string(), "a length in memory"))
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = &self.bytes[self.next..];
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(self.objects.len());
        self.objects.push(object);
    }

    fn push_number<const BYTES: usize>(&mut self, signed: bool) -> Result<(), PickleError> {
        let value = self.number::<BYTES>()? as i64;
        let above = 64 - 8 * BYTES as u32;
        self.push(Object::Integer(if signed { value << above >> above } else { value }));
        Ok(())
    }

    /// `LONG1`: little-endian, signed, of any length; what 64 bits cannot hold is no label.
    fn push_long(&mut self) -> Result<(), PickleError> {
        let length = self.number::<1>()?;
        let digits = self.take(length)?;
        if length > 8 {
            return Err(self.refused(&format!("makes a number of {length} bytes")));
        }
        let value = digits.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        let above = 64 - 8 * length.max(1) as u32;
        self.push(Object::Integer((value << above) as i64 >> above));
        Ok(())
    }

    fn push_text<const BYTES: usize>(&mut self) -> Result<(), PickleError> {
        let length = self.number::<BYTES>()?;
        let text = self.take(length)?;
        self.push(Object::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn top(&self) -> Result<usize, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&top) if self.stack.len() > floor => Ok(top),
            _ => Err(self.broken("nothing on the stack".to_owned(), "an object")),
        }
    }

    fn pop(&mut self) -> Result<usize, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<usize>, PickleError> {
        let Some(mark) = self.marks.pop() else {
            return Err(self.broken("no MARK on the stack".to_owned(), "one"));
        };
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, new: Vec<usize>) -> Result<(), PickleError> {
        let list = self.top()?;
        match &mut self.objects[list] {
            Object::List(items) => items.extend(new),
            _ => return Err(self.broken("no list on the stack".to_owned(), "a list")),
        }
        Ok(())
    }

    fn insert(&mut self, new: &[usize]) -> Result<(), PickleError> {
        let dictionary = self.top()?;
        let pairs = new.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err(self.broken(format!("{} objects", new.len()), "pairs of key and value"));
        }
        match &mut self.objects[dictionary] {
            Object::Dictionary(entries) => entries.extend(pairs.map(|pair| (pair[0], pair[1]))),
            _ => return Err(self.broken("no dictionary on the stack".to_owned(), "one")),
        }
        Ok(())
    }

    fn memoize<const BYTES: usize>(&mut self) -> Result<(), PickleError> {
        let slot = self.number::<BYTES>()?;
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall<const BYTES: usize>(&mut self) -> Result<(), PickleError> {
        let slot = self.number::<BYTES>()?;
        let Some(&object) = self.memo.get(&slot) else {
            return Err(self.broken(format!("empty memo slot {slot}"), "one that was filled"));
        };
        self.stack.push(object);
        Ok(())
    }

    fn push_function(&mut self, module: &str, function: &str) -> Result<(), PickleError> {
        // numpy 2 moved its modules from `core` to `_core`; Python 2 called `builtins` `__builtin__`.
        let function = match (module, function) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Function::Reconstruct
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Function::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Function::FromBuffer,
            ("numpy", "ndarray") => Function::Ndarray,
            ("numpy", "dtype") => Function::Dtype,
            ("_codecs", "encode") => Function::Encode,
            ("__builtin__" | "builtins", "bytes") => Function::Bytes,
            _ => return Err(self.refused(&format!("names the code {module}.{function}"))),
        };
        self.push(Object::Function(function));
        Ok(())
    }

    /// What a call of one of the known functions would give, made without calling it.
    fn reduce(&mut self) -> Result<(), PickleError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Object::Function(function) = self.objects[function] else {
            return Err(self.refused("calls what is not one of numpy's array functions"));
        };
        let Object::Tuple(arguments) = self.objects[arguments].clone() else {
            return Err(self.broken("arguments that are no tuple".to_owned(), "a tuple"));
        };
        let made = match (function, &arguments[..]) {
            (Function::Reconstruct, [class, _, _])
                if matches!(self.objects[*class], Object::Function(Function::Ndarray)) =>
            {
                Object::Unbuilt
            }
            (Function::Dtype, [code, _, _]) => Object::Element(self.parse_element(*code)?),
            (Function::Scalar, [element, bytes]) => {
                let (element, text) = (self.element(*element)?, self.text(*bytes)?);
                let value = element.integer(&text);
                Object::Integer(value.ok_or_else(|| {
                    self.broken(format!("{} bytes of {element}", text.len()), "a whole number")
                })?)
            }
            (Function::FromBuffer, [bytes, element, shape, order]) => {
                let fortran = &*self.text(*order)? != b"C";
                Object::Array(self.array(*shape, *element, fortran, *bytes)?)
            }
            (Function::Encode, [text, _]) => Object::Text(Cow::Owned(self.latin1(*text)?)),
            (Function::Bytes, []) => Object::Text(Cow::Borrowed(b"")),
            _ => {
                let found = format!("{function:?} of {} arguments", arguments.len());
                return Err(self.broken(found, "the arguments that numpy writes"));
            }
        };
        self.push(made);
        Ok(())
    }

    /// Fills in what `REDUCE` left open: the numbers of an array, the byte order of a type.
    fn build(&mut self) -> Result<(), PickleError> {
        let (state, object) = (self.pop()?, self.top()?);
        let Object::Tuple(state) = self.objects[state].clone() else {
            return Err(self.refused("sets the state of an object"));
        };
        let built = match (&self.objects[object], &state[..]) {
            (Object::Unbuilt, [_, shape, element, fortran, bytes]) => {
                let fortran = !matches!(self.objects[*fortran], Object::Integer(0));
                Object::Array(self.array(*shape, *element, fortran, *bytes)?)
            }
            (Object::Element(element), [_, order, subarray, names, fields, ..]) => {
                let plain = [subarray, names, fields]
                    .iter()
                    .all(|&&part| matches!(self.objects[part], Object::None));
                let order = String::from_utf8_lossy(&self.text(*order)?).into_owned();
                match element.ordered(&order) {
                    Some(element) if plain => Object::Element(element),
                    _ => return Err(self.refused("makes an array of records")),
                }
            }
            _ => return Err(self.refused("sets the state of an object")),
        };
        self.objects[object] = built;
        Ok(())
    }

    fn array(
        &mut self,
        shape: usize,
        element: usize,
        fortran: bool,
        bytes: usize,
    ) -> Result<Array<'a>, PickleError> {
        let Object::Tuple(sizes) = &self.objects[shape] else {
            return Err(self.broken("a shape that is no tuple".to_owned(), "a tuple"));
        };
        let size = |&size: &usize| match self.objects[size] {
            Object::Integer(size) => usize::try_from(size).ok(),
            _ => None,
        };
        let sizes: Option<Vec<usize>> = sizes.iter().map(size).collect();
        let Some(shape) = sizes else {
            return Err(self.broken("a shape with other than sizes".to_owned(), "sizes"));
        };
        if fortran && shape.len() > 1 {
            return Err(self.refused("makes an array in Fortran order"));
        }
        let (element, bytes) = (self.element(element)?, self.text(bytes)?);
        if let Cow::Owned(copy) = &bytes {
            self.copy(copy.len())?;
        }
        let length = bytes.len();
        Array::new(shape.clone(), element, bytes).ok_or_else(|| {
            self.broken(format!("{length} bytes for {shape:?} of {element}"), "as many as it has")
        })
    }

    fn parse_element(&self, code: usize) -> Result<Element, PickleError> {
        let code = String::from_utf8_lossy(&self.text(code)?).into_owned();
        Element::parse(&code)
            .ok_or_else(|| self.refused(&format!("makes an array of numpy type {code:?}")))
    }

    fn element(&self, position: usize) -> Result<Element, PickleError> {
        match self.objects[position] {
            Object::Element(element) => Ok(element),
            _ => Err(self.broken("no type where one is due".to_owned(), "a numpy type")),
        }
    }

    fn text(&self, position: usize) -> Result<Cow<'a, [u8]>, PickleError> {
        match &self.objects[position] {
            Object::Text(text) => Ok(text.clone()),
            _ => Err(self.broken("no bytes where some are due".to_owned(), "a byte string")),
        }
    }

    fn spelled(&self, position: usize) -> Result<String, PickleError> {
        Ok(String::from_utf8_lossy(&self.text(position)?).into_owned())
    }

    /// Bytes that Python 3 wrote in protocol 2, as a string of the characters 0 to 255.
    fn latin1(&mut self, position: usize) -> Result<Vec<u8>, PickleError> {
        let text = self.text(position)?;
        self.copy(text.len())?;
        let found = |found: &str| self.broken(found.to_owned(), "a string of characters to U+00FF");
        let text = std::str::from_utf8(&text).map_err(|_| found("no UTF-8"))?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
        bytes.map_err(|_| found("a character beyond U+00FF"))
    }

    fn copy(&mut self, length: usize) -> Result<(), PickleError> {
        self.copied = self.copied.saturating_add(length);
        if self.copied > COPIES * self.bytes.len() {
            return Err(self.refused("copies strings over and over"));
        }
        Ok(())
    }

    fn broken(&self, found: String, expected: &'static str) -> PickleError {
        let Opcode { name, offset } = self.opcode;
        PickleError::Broken { opcode: name, offset, found, expected }
    }

    fn refused(&self, what: &str) -> PickleError {
        let Opcode { name, offset } = self.opcode;
        PickleError::Refused { opcode: name.to_owned(), offset, what: what.to_owned() }
    }
}

/// What an opcode is called; `None` for bytes that are none, and for the text of protocol 0 that nobody writes.
fn name(byte: u8) -> Option<&'static str> {
    Some(match byte {
        0x80 => "PROTO",
        0x95 => "FRAME",
        b'.' => "STOP",
        b'(' => "MARK",
        b'0' => "POP",
        b'N' => "NONE",
        0x88 => "NEWTRUE",
        0x89 => "NEWFALSE",
        b'K' => "BININT1",
        b'M' => "BININT2",
        b'J' => "BININT",
        0x8a => "LONG1",
        b'G' => "BINFLOAT",
        b'U' => "SHORT_BINSTRING",
        b'T' => "BINSTRING",
        b'C' => "SHORT_BINBYTES",
        b'B' => "BINBYTES",
        0x8e => "BINBYTES8",
        0x96 => "BYTEARRAY8",
        0x8c => "SHORT_BINUNICODE",
        b'X' => "BINUNICODE",
        0x8d => "BINUNICODE8",
        b']' => "EMPTY_LIST",
        b'}' => "EMPTY_DICT",
        b')' => "EMPTY_TUPLE",
        b't' => "TUPLE",
        0x85 => "TUPLE1",
        0x86 => "TUPLE2",
        0x87 => "TUPLE3",
        b'a' => "APPEND",
        b'e' => "APPENDS",
        b's' => "SETITEM",
        b'u' => "SETITEMS",
        b'q' => "BINPUT",
        b'r' => "LONG_BINPUT",
        0x94 => "MEMOIZE",
        b'h' => "BINGET",
        b'j' => "LONG_BINGET",
        b'c' => "GLOBAL",
        0x93 => "STACK_GLOBAL",
        b'R' => "REDUCE",
        b'b' => "BUILD",
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        b'P' => "PERSID",
        b'Q' => "BINPERSID",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return None,
    })
}
