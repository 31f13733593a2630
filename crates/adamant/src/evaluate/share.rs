//! One evaluation shared by several processes: each judges a range of its images.

use super::EvaluateError;
use std::str::FromStr;

/// Which of an evaluation's images are judged here: part `number` of `of`, by rising index.
///
/// The parts of an evaluation are disjoint and make up the whole, whatever their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    number: usize,
    of: usize,
}

impl Default for Share {
    /// All images.
    fn default() -> Self {
        Self { number: 1, of: 1 }
    }
}

impl Share {
    /// Share `number` of `of`, counted from 1.
    ///
    /// Errors: `Share` if there is no such part.
    pub fn new(number: usize, of: usize) -> Result<Self, EvaluateError> {
        if number == 0 || number > of {
            return Err(EvaluateError::Share { found: format!("{number}/{of}") });
        }
        Ok(Self { number, of })
    }

    /// Whether this is the whole evaluation.
    pub fn is_whole(&self) -> bool {
        self.of == 1
    }

    /// Whether this is the first part, which does what is done once for all.
    pub fn is_first(&self) -> bool {
        self.number == 1
    }

    /// Its share of something listed; shares differ in length by at most one.
    pub fn of<'a, T>(&self, list: &'a [T]) -> &'a [T] {
        let border = |number: usize| list.len() * number / self.of;
        &list[border(self.number - 1)..border(self.number)]
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Share {
    type Err = EvaluateError;

    /// Reads `1/2`. Errors: `Share`.
    fn from_str(text: &str) -> Result<Self, EvaluateError> {
        let wrong = || EvaluateError::Share { found: text.to_string() };
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let (number, of) = (number.parse(), of.parse());
        Self::new(number.map_err(|_| wrong())?, of.map_err(|_| wrong())?).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g33_the_parts_of_a_list_are_the_list_whatever_their_number() {
        for length in [0, 1, 5, 12] {
            let list: Vec<usize> = (0..length).collect();
            for of in 1..=15 {
                let parts = (1..=of).map(|number| Share::new(number, of).unwrap());
                let joined: Vec<usize> = parts.flat_map(|part| part.of(&list).to_vec()).collect();
                assert_eq!(joined, list, "{length} in {of}");
            }
        }
    }

    #[test]
    fn g5_a_part_that_there_is_not_is_refused() {
        assert_eq!("2/3".parse::<Share>().unwrap(), Share::new(2, 3).unwrap());
        for wrong in ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", ""] {
            let message = wrong.parse::<Share>().unwrap_err().to_string();
            assert!(message.contains(&format!("{wrong:?}")), "{message}");
        }
    }
}
