//! What the adversary may do and wants: norm, radius, goal.
//!
//! [`ThreatModel`] is checked when it is made, so whoever holds one holds a radius in pixel units (T17). The norm
//! enters the arithmetic at three points only: [`sample_ball`], [`steepest_step`] and [`project`].

mod ball;
mod l1;

pub use ball::{Range, distance, dual_length, project, sample_ball, sign, steepest_step};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How the size of a perturbation is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Norm {
    /// Largest change of a pixel.
    Linf,
    /// Euclidean length of the change of an image.
    L2,
    /// Sum of the absolute pixel changes.
    L1,
}

impl FromStr for Norm {
    type Err = ThreatError;

    /// Errors: `UnknownNorm` with the names that are known.
    fn from_str(text: &str) -> Result<Self, ThreatError> {
        // The spellings users bring along from other toolkits.
        match text.to_ascii_lowercase().as_str() {
            "linf" | "l_inf" | "l-inf" | "inf" => Ok(Self::Linf),
            "l2" | "l_2" | "l-2" | "2" => Ok(Self::L2),
            "l1" | "l_1" | "l-1" | "1" => Ok(Self::L1),
            _ => Err(ThreatError::UnknownNorm { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linf => "Linf",
            Self::L2 => "L2",
            Self::L1 => "L1",
        })
    }
}

impl From<Norm> for String {
    fn from(norm: Norm) -> Self {
        norm.to_string()
    }
}

impl TryFrom<String> for Norm {
    type Error = ThreatError;
    fn try_from(text: String) -> Result<Self, ThreatError> {
        text.parse()
    }
}

/// A length in pixel units of `[0, 1]`: the radius of a ball, or a step; keeps what was written (`8/255`) for reports.
///
/// Finite and not negative. Whether it may exceed 1 depends on the norm: [`ThreatModel::new`] decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "NumberOrText")]
pub struct Epsilon {
    value: f64,
    written: String,
}

/// Two lengths are equal when their values are; `0.5` and `1/2` are.
impl PartialEq for Epsilon {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Epsilon {
    /// The length of a number; written as the number is.
    ///
    /// Errors: `Negative` or `NotANumber`.
    pub fn new(value: f64) -> Result<Self, ThreatError> {
        Self::checked(value, value.to_string())
    }

    /// `numerator / 255`, as the field counts.
    ///
    /// Errors: `Negative` or `NotANumber`.
    pub fn over_255(numerator: f64) -> Result<Self, ThreatError> {
        Self::checked(numerator / 255.0, format!("{numerator}/255"))
    }

    /// The length, in single precision.
    pub fn value(&self) -> f32 {
        self.value as f32
    }

    /// The length, as exactly as it was written.
    pub fn exact(&self) -> f64 {
        self.value
    }

    /// As the user wrote it.
    pub fn written(&self) -> &str {
        &self.written
    }

    fn checked(value: f64, written: String) -> Result<Self, ThreatError> {
        if !value.is_finite() {
            Err(ThreatError::NotANumber { found: written })
        } else if value < 0.0 {
            Err(ThreatError::Negative { found: written })
        } else {
            Ok(Self { value, written })
        }
    }
}

impl FromStr for Epsilon {
    type Err = ThreatError;

    /// Reads `8/255`, `0.031`, `.031` or `1e-3`. Errors: `NotANumber`, `Negative`.
    fn from_str(text: &str) -> Result<Self, ThreatError> {
        let written = text.trim();
        let number = |part: &str| {
            part.trim()
                .parse::<f64>()
                .map_err(|_| ThreatError::NotANumber { found: written.to_owned() })
        };
        let value = match written.split_once('/') {
            Some((numerator, denominator)) => number(numerator)? / number(denominator)?,
            None => number(written)?,
        };
        Self::checked(value, written.to_owned())
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl From<Epsilon> for String {
    fn from(epsilon: Epsilon) -> Self {
        epsilon.written
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl TryFrom<NumberOrText> for Epsilon {
    type Error = ThreatError;
    fn try_from(written: NumberOrText) -> Result<Self, ThreatError> {
        match written {
            NumberOrText::Number(value) => Self::new(value),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

/// Which perturbations are allowed: a ball, always within the pixel range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ThreatAsWritten")]
pub struct ThreatModel {
    norm: Norm,
    epsilon: Epsilon,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThreatAsWritten {
    norm: Norm,
    epsilon: Epsilon,
}

impl TryFrom<ThreatAsWritten> for ThreatModel {
    type Error = ThreatError;
    fn try_from(written: ThreatAsWritten) -> Result<Self, ThreatError> {
        Self::new(written.norm, written.epsilon)
    }
}

impl ThreatModel {
    /// The ball of a norm and a radius.
    ///
    /// Errors: `AboveOne` for an Linf radius above 1, which is always one written in steps of 1/255 (T17). An L2
    /// radius may exceed 1: it is a length over all pixels of an image.
    pub fn new(norm: Norm, epsilon: Epsilon) -> Result<Self, ThreatError> {
        check_unit("epsilon", norm, &epsilon)?;
        Ok(Self { norm, epsilon })
    }

    /// How size is measured.
    pub fn norm(&self) -> Norm {
        self.norm
    }

    /// How large it may be.
    pub fn epsilon(&self) -> &Epsilon {
        &self.epsilon
    }
}

/// Refuses an Linf length above 1.
///
/// Errors: `AboveOne`, naming `quantity`.
pub fn check_unit(quantity: &'static str, norm: Norm, length: &Epsilon) -> Result<(), ThreatError> {
    if norm == Norm::Linf && length.value > 1.0 {
        let found = length.written.clone();
        return Err(ThreatError::AboveOne { quantity, found });
    }
    Ok(())
}

/// What the adversary wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Any wrong class.
    Untargeted,
    /// One chosen wrong class.
    Targeted(TargetRule),
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untargeted => "untargeted",
            Self::Targeted(TargetRule::UniformOther) => "targeted, uniform over the other classes",
            Self::Targeted(TargetRule::LeastLikely) => "targeted, least likely class",
            Self::Targeted(TargetRule::Next) => "targeted, next class",
        })
    }
}

/// How a target is chosen; never the true class (T19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetRule {
    /// Uniform over the other classes, drawn once per image and attack.
    UniformOther,
    /// The class with the smallest logit on the clean image, the true class left out.
    LeastLikely,
    /// `(label + 1) mod classes`.
    Next,
}

/// How far one step of an attack goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepSize {
    /// Exactly this.
    Fixed(Epsilon),
    /// This, or epsilon / steps where that is larger: a few small steps could not cross the ball.
    ///
    /// Source: FAIR code, the rule of its training attack; inactive at 30 steps of 1/255 (T24).
    AtLeastEpsilonOverSteps(Epsilon),
    /// This factor times epsilon / steps; 2.5 is the usual one.
    TimesEpsilonOverSteps(f64),
}

impl StepSize {
    /// The step in pixel units for an attack of `steps` steps.
    pub fn resolve(&self, epsilon: &Epsilon, steps: usize) -> f64 {
        // Without steps there is nothing to divide by, and no step is made.
        let share = epsilon.exact() / steps.max(1) as f64;
        match self {
            Self::Fixed(step) => step.exact(),
            Self::AtLeastEpsilonOverSteps(step) => step.exact().max(share),
            Self::TimesEpsilonOverSteps(factor) => factor * share,
        }
    }
}

/// Who shares one draw of the clean-start coin (T21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoinScope {
    /// One draw for all images of a rank's batch: the paper's "20 % of training batches".
    PerBatch,
    /// One draw per image.
    PerImage,
}

/// Where an attack starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the image; adds no noise at all (T23).
    Clean,
    /// Uniformly in the ball.
    Uniform,
    /// At the image with this probability, else uniformly in the ball (T20).
    CleanWithProbability {
        /// How often the start is clean.
        probability: f64,
        /// Who shares the draw.
        scope: CoinScope,
    },
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str("clean"),
            Self::Uniform => f.write_str("uniform"),
            Self::CleanWithProbability { probability, scope } => {
                let scope = match scope {
                    CoinScope::PerBatch => "batch",
                    CoinScope::PerImage => "image",
                };
                write!(f, "clean with probability {probability} per {scope}, else uniform")
            }
        }
    }
}

/// What can be wrong with a threat as written.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ThreatError {
    /// Not a number or fraction.
    #[error("epsilon is {found:?}, expected a fraction such as \"8/255\" or a number in [0, 1]")]
    NotANumber {
        /// What was written.
        found: String,
    },
    /// Below zero.
    #[error("epsilon is {found}, expected a length that is not negative")]
    Negative {
        /// What was written.
        found: String,
    },
    /// In another unit than pixels of `[0, 1]`.
    #[error("{quantity} is {found}, above 1\n  hint: pixels are in [0, 1]{}", in_255(found))]
    AboveOne {
        /// Radius or step.
        quantity: &'static str,
        /// What was written.
        found: String,
    },
    /// No norm of that name.
    #[error("norm is {found:?}, expected one of Linf (inf, l_inf), L2 (2, l_2), L1 (1, l_1)")]
    UnknownNorm {
        /// What was written.
        found: String,
    },
}

/// What to write instead; a fraction above 1 is no slip of units.
fn in_255(found: &str) -> String {
    if found.contains('/') { String::new() } else { format!("; write \"{found}/255\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epsilon(text: &str) -> Epsilon {
        text.parse().expect("a length")
    }

    #[test]
    fn a_length_is_read_as_a_fraction_or_a_number_and_remembers_how_it_was_written() {
        assert_eq!(epsilon("8/255").exact(), 8.0 / 255.0);
        assert_eq!(epsilon("8/255").written(), "8/255");
        assert_eq!(epsilon(" .031 ").value(), 0.031);
        assert_eq!(epsilon("0"), Epsilon::new(0.0).expect("zero is a length"));
        assert_eq!(Epsilon::over_255(8.0).expect("a length").written(), "8/255");
    }

    #[test]
    fn g5_what_is_no_length_is_refused_with_what_was_found() {
        let message = |text: &str| text.parse::<Epsilon>().expect_err("no length").to_string();
        let expected = "expected a fraction such as \"8/255\" or a number in [0, 1]";
        assert_eq!(message("eight"), format!("epsilon is \"eight\", {expected}"));
        assert_eq!(message("NaN"), format!("epsilon is \"NaN\", {expected}"));
        assert_eq!(message("inf"), format!("epsilon is \"inf\", {expected}"));
        assert_eq!(message("1/0"), format!("epsilon is \"1/0\", {expected}"));
        assert_eq!(message("-0.1"), "epsilon is -0.1, expected a length that is not negative");
    }

    #[test]
    fn g5_a_bare_8_is_refused_for_linf_with_a_hint_and_allowed_as_an_l2_radius() {
        let error = ThreatModel::new(Norm::Linf, epsilon("8")).expect_err("above 1");
        assert_eq!(
            error.to_string(),
            "epsilon is 8, above 1\n  hint: pixels are in [0, 1]; write \"8/255\""
        );
        let error = ThreatModel::new(Norm::Linf, epsilon("300/255")).expect_err("above 1");
        assert_eq!(error.to_string(), "epsilon is 300/255, above 1\n  hint: pixels are in [0, 1]");
        assert!(ThreatModel::new(Norm::L2, epsilon("3.0")).is_ok());
        assert!(ThreatModel::new(Norm::Linf, epsilon("1")).is_ok());
    }

    #[test]
    fn a_threat_is_read_from_text_or_number_and_written_as_it_was() {
        let read = |text: &str| serde_json::from_str::<ThreatModel>(text);
        let threat = read(r#"{"norm": "l_inf", "epsilon": "8/255"}"#).expect("a threat");
        let written = serde_json::to_string(&threat).expect("plain data");
        assert_eq!(written, r#"{"norm":"Linf","epsilon":"8/255"}"#);
        assert_eq!(read(r#"{"norm": "2", "epsilon": 0.5}"#).expect("a threat").norm(), Norm::L2);
        let refused = read(r#"{"norm": "inf", "epsilon": 8}"#).expect_err("above 1").to_string();
        assert!(refused.contains("write \"8/255\""), "{refused}");
        let unknown = read(r#"{"norm": "L7", "epsilon": 0.1}"#).expect_err("no norm").to_string();
        assert!(unknown.contains("expected one of Linf"), "{unknown}");
    }

    #[test]
    fn the_step_rule_of_the_paper_raises_short_attacks_only() {
        let epsilon = epsilon("16/255");
        let rule = StepSize::AtLeastEpsilonOverSteps(Epsilon::over_255(1.0).expect("a length"));
        assert_eq!(rule.resolve(&epsilon, 30), 1.0 / 255.0);
        assert!((rule.resolve(&epsilon, 10) - 1.6 / 255.0).abs() < 1e-12);
        let usual = StepSize::TimesEpsilonOverSteps(2.5).resolve(&epsilon, 20);
        assert!((usual - 2.0 / 255.0).abs() < 1e-12);
    }
}
