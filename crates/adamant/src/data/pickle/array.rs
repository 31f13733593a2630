//! numpy arrays as pickles and `.npy` files spell them.

use std::borrow::Cow;
use std::fmt;

/// The element type of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    kind: Kind,
    bytes: usize,
    order: ByteOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unsigned,
    Signed,
    Float,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl Element {
    /// Reads numpy's spelling, such as `u1`, `<i8`, `|u1` or `>f4`; `None` for types other than plain numbers.
    pub fn parse(spelled: &str) -> Option<Self> {
        let (order, rest) = match spelled.as_bytes().first()? {
            b'<' | b'|' | b'=' => (ByteOrder::Little, &spelled[1..]),
            b'>' => (ByteOrder::Big, &spelled[1..]),
            _ => (ByteOrder::Little, spelled),
        };
        let (kind, bytes) = match rest {
            "u1" | "b1" => (Kind::Unsigned, 1),
            "u2" => (Kind::Unsigned, 2),
            "u4" => (Kind::Unsigned, 4),
            "u8" => (Kind::Unsigned, 8),
            "i1" => (Kind::Signed, 1),
            "i2" => (Kind::Signed, 2),
            "i4" => (Kind::Signed, 4),
            "i8" => (Kind::Signed, 8),
            "f2" => (Kind::Float, 2),
            "f4" => (Kind::Float, 4),
            "f8" => (Kind::Float, 8),
            _ => return None,
        };
        Some(Self { kind, bytes, order })
    }

    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// The same numbers in the byte order that numpy writes as `<`, `>`, `|` or `=`; `None` for another character.
    pub fn ordered(self, order: &str) -> Option<Self> {
        let order = match order {
            "<" | "|" | "=" => ByteOrder::Little,
            ">" => ByteOrder::Big,
            _ => return None,
        };
        Some(Self { order, ..self })
    }

    /// The whole number in `bytes`; `None` for floating-point types and for what 64 signed bits cannot hold.
    pub(super) fn integer(self, bytes: &[u8]) -> Option<i64> {
        if self.kind == Kind::Float || bytes.len() != self.bytes {
            return None;
        }
        let digit = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        let value = match self.order {
            ByteOrder::Little => bytes.iter().rev().fold(0, digit),
            ByteOrder::Big => bytes.iter().fold(0, digit),
        };
        match self.kind {
            // Moves the sign bit to the top and back, which copies it downwards.
            Kind::Signed => {
                let above = 64 - 8 * self.bytes as u32;
                Some((value << above) as i64 >> above)
            }
            _ => i64::try_from(value).ok(),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Unsigned => "uint",
            Kind::Signed => "int",
            Kind::Float => "float",
        };
        write!(f, "{kind}{}", 8 * self.bytes)
    }
}

/// An array in row-major order.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    shape: Vec<usize>,
    element: Element,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Array<'a> {
    /// Puts an array together; `None` unless the bytes are as many as the shape says.
    pub fn new(shape: Vec<usize>, element: Element, bytes: Cow<'a, [u8]>) -> Option<Self> {
        let expected =
            shape.iter().try_fold(element.bytes, |product, &size| product.checked_mul(size))?;
        (bytes.len() == expected).then_some(Self { shape, element, bytes })
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The element type.
    pub fn element(&self) -> Element {
        self.element
    }

    /// All numbers in row-major order; `None` unless they are unsigned bytes.
    pub fn unsigned_bytes(&self) -> Option<&[u8]> {
        (self.element.kind == Kind::Unsigned && self.element.bytes == 1).then_some(&*self.bytes)
    }

    /// All numbers in row-major order; `None` if they are not whole.
    pub fn integers(&self) -> Option<Vec<i64>> {
        self.bytes
            .chunks_exact(self.element.bytes)
            .map(|bytes| self.element.integer(bytes))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_every_size_sign_and_order_are_read() {
        for (spelled, bytes, expected) in [
            ("|u1", &[200][..], Some(200)),
            ("i1", &[200], Some(-56)),
            ("<i2", &[0xfe, 0xff], Some(-2)),
            (">i2", &[0xff, 0xfe], Some(-2)),
            (">u4", &[0, 0, 1, 2], Some(258)),
            ("<i8", &[0xff; 8], Some(-1)),
            ("<u8", &[0xff; 8], None),
            ("<f4", &[0; 4], None),
            ("<i8", &[0; 4], None),
        ] {
            let element = Element::parse(spelled).unwrap();
            assert_eq!(element.integer(bytes), expected, "{spelled}");
        }
        for spelled in ["", "O", "O8", "S3", "<U4", "V8", "c8", "M8"] {
            assert_eq!(Element::parse(spelled), None, "{spelled}");
        }
    }

    #[test]
    fn an_array_has_exactly_the_bytes_of_its_shape() {
        let element = Element::parse("<i2").unwrap();
        let array = |shape: &[usize], bytes: &'static [u8]| {
            Array::new(shape.to_vec(), element, Cow::Borrowed(bytes))
        };
        assert_eq!(array(&[2], &[1, 0, 2, 0]).unwrap().integers(), Some(vec![1, 2]));
        assert!(array(&[2], &[1, 0, 2]).is_none());
        assert!(array(&[usize::MAX, 2], &[]).is_none());
        assert!(array(&[0, 3], &[]).is_some());
    }
}
