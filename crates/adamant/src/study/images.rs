//! How each judged image fared: what pairs the figures of cells that were judged on the same images.

use crate::evaluate::{Evaluation, Verdict};
use serde::{Deserialize, Serialize};

/// The images of one judgement, a bit each.
///
/// Shapes: `judged` is by position in the data set; `right` and `stood` have a bit for each judged image, in that order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Which images were judged.
    pub judged: Bits,
    /// Whether it is right as it is.
    pub right: Bits,
    /// Whether it stood everything.
    pub stood: Bits,
}

impl ImageRecord {
    /// Of an evaluation's verdicts.
    pub fn of(evaluation: &Evaluation) -> Self {
        let mut verdicts: Vec<&Verdict> = evaluation.verdict_list.iter().collect();
        verdicts.sort_unstable_by_key(|verdict| verdict.index);
        let end = verdicts.last().map_or(0, |last| last.index as usize + 1);
        let mut judged = vec![false; end];
        verdicts.iter().for_each(|verdict| judged[verdict.index as usize] = true);
        Self {
            judged: judged.into_iter().collect(),
            right: verdicts.iter().map(|verdict| verdict.is_clean_right()).collect(),
            stood: verdicts.iter().map(|verdict| verdict.broken_by.is_none()).collect(),
        }
    }

    /// Each judged image with its bit of `bits`, where those are as many as the judged ones.
    pub fn each(&self, bits: &Bits) -> Vec<(usize, bool)> {
        let positions =
            self.judged.iter().enumerate().filter_map(|(at, judged)| judged.then_some(at));
        positions.zip(bits.iter()).collect()
    }
}

/// Bits, written as hexadecimal digits: the first bit is the lowest of the first digit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Bits {
    digits: Vec<u8>,
}

impl Bits {
    /// In order; up to three zeros follow the last.
    pub fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        self.digits.iter().flat_map(|digit| (0..4).map(move |bit| digit >> bit & 1 == 1))
    }

    /// How many are set.
    pub fn count(&self) -> usize {
        self.iter().filter(|bit| *bit).count()
    }
}

impl FromIterator<bool> for Bits {
    fn from_iter<I: IntoIterator<Item = bool>>(bits: I) -> Self {
        let mut digits = Vec::new();
        for (at, bit) in bits.into_iter().enumerate() {
            if at % 4 == 0 {
                digits.push(0);
            }
            *digits.last_mut().expect("a digit was begun") |= u8::from(bit) << (at % 4);
        }
        Self { digits }
    }
}

impl From<Bits> for String {
    fn from(bits: Bits) -> Self {
        let digit = |digit: &u8| char::from_digit((*digit).into(), 16).expect("four bits");
        bits.digits.iter().map(digit).collect()
    }
}

impl TryFrom<String> for Bits {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digit = |letter: char| {
            let value = letter.to_digit(16).ok_or_else(|| {
                format!("bits are written as hexadecimal digits, found {letter:?} among them")
            })?;
            Ok(value as u8)
        };
        Ok(Self { digits: text.chars().map(digit).collect::<Result<_, String>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_written_as_digits_and_read_again() {
        let bits: Bits = [true, false, false, true, false, true].into_iter().collect();
        assert_eq!(String::from(bits.clone()), "92");
        assert_eq!(Bits::try_from("92".to_string()), Ok(bits.clone()));
        assert_eq!(bits.count(), 3);
        let error = Bits::try_from("9g".to_string()).unwrap_err();
        assert_eq!(error, "bits are written as hexadecimal digits, found 'g' among them");
    }

    #[test]
    fn every_judged_image_has_its_bit() {
        let bits = |bits: &[u8]| bits.iter().map(|bit| *bit == 1).collect::<Bits>();
        let (judged, stood) = (bits(&[0, 1, 0, 0, 1, 1]), bits(&[1, 0, 1]));
        let record = ImageRecord { judged, right: bits(&[1, 1, 1]), stood };
        assert_eq!(record.each(&record.stood), [(1, true), (4, false), (5, true)]);
    }
}
