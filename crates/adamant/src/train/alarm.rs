//! Alarms about overfitting, judged by the validations so far. Begin with [`ringing`], which states the two rules.
//!
//! Catastrophic overfitting: the network learns to mislead single gradient steps; accuracy under FGSM rises while that
//! under PGD collapses, within an epoch (Wong, Rice & Kolter 2020, "Fast is better than free"). Robust overfitting:
//! robust accuracy on held-out images falls for many epochs while that on training images still rises (Rice, Wong &
//! Kolter 2020, "Overfitting in adversarially robust deep learning"). Unnoticed, a run goes on for nothing and its last
//! model is published (T45, T27).

use serde::{Deserialize, Serialize};

/// One validation, as the rules see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Steps done.
    pub step: u64,
    /// Held-out images judged.
    pub samples: usize,
    /// Share right as they are.
    pub clean: f64,
    /// Share right under the attack that chooses the best model.
    pub adversarial: f64,
    /// Share right under one gradient step; none where robustness is not what is trained, or is judged by no more.
    pub fgsm: Option<f64>,
    /// Mean adversarial accuracy of the training steps since the validation before; none without adversarial images.
    pub training: Option<f64>,
}

/// What is suspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmKind {
    /// Accuracy under PGD collapses, that under FGSM does not.
    CatastrophicOverfitting,
    /// Accuracy under PGD collapses, and that under FGSM with it.
    Collapse,
    /// Held-out robust accuracy falls while that of training rises.
    RobustOverfitting,
}

/// An alarm with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// Steps done.
    pub step: u64,
    /// What is suspected.
    pub kind: AlarmKind,
    /// The numbers, and what to do.
    pub message: String,
}

/// A fall of PGD accuracy that is no noise: 25 points. On 500 images, chance moves it by about 4 points in two standard
/// deviations, so epochs of a healthy run stay far inside.
const FALL: f64 = 0.25;

/// FGSM accuracy so far above PGD accuracy says that single steps are misled, whatever came before: 30 points. The
/// gap of a robust network stays far below: FGSM is one of the starting points that PGD improves on.
const GAP: f64 = 0.30;

/// A smaller fall or gap is as telling where it takes half of the accuracy: 15 points, beyond noise of 5 to either side.
const HALVING: f64 = 0.15;

/// A slow fall of the mean over [`WINDOW`] validations, and a rise in training, from which overfitting is meant: 3 points,
/// or two standard errors where these are more.
const DRIFT: f64 = 0.03;

/// Validations in a mean: single epochs at a high learning rate differ by several points.
const WINDOW: usize = 3;

/// The rounding of a difference must not decide at the very edge.
const ROUNDING: f64 = 1e-9;

/// The alarm that holds after the last of `history`; the first of these rules that applies.
///
/// With p the accuracy under PGD, f that under FGSM, t that of training and n the held-out images:
/// - a sudden fall: p is below the best p before, by 25 points, or by 15 and to half of it;
/// - a gap: f - p is three standard errors of a difference, sqrt(1 / 2n), and 30 points, or 15 and p half of f;
/// - a slow fall: the mean of the last three p is below the best such mean before, by 3 points and two standard errors,
///   sqrt(2 p (1 - p) / n), while that of t is 3 points or more above its value then.
///
/// A gap is catastrophic overfitting. So is a fall of p where f fell by less than half of that; where f fell too, a slow
/// one is robust overfitting, and a sudden one a collapse if p had fallen so far at the validation before as well: early
/// in training running statistics may lag behind for one, which the next has forgotten.
pub fn ringing(history: &[Judgement]) -> Option<Alarm> {
    let (now, before) = history.split_last()?;
    // Where nothing adversarial is trained, no robustness can be lost.
    now.training?;
    let best = before.iter().reduce(|a, b| if b.adversarial > a.adversarial { b } else { a });
    let sudden = best.and_then(|best| sudden(best, before.last()?, now));
    let (kind, message) = sudden.or_else(|| gap(now)).or_else(|| slow(history))?;
    Some(Alarm { step: now.step, kind, message: format!("{message}\n  hint: {}", kind.hint()) })
}

/// The alarms of a whole history, each where it began.
pub fn begun(history: &[Judgement]) -> Vec<Alarm> {
    let mut begun = Vec::new();
    let mut held = None;
    for end in 1..=history.len() {
        let now = ringing(&history[..end]);
        let kind = now.as_ref().map(|alarm| alarm.kind);
        begun.extend(now.filter(|alarm| held != Some(alarm.kind)));
        held = kind;
    }
    begun
}

impl AlarmKind {
    fn hint(self) -> &'static str {
        match self {
            Self::CatastrophicOverfitting => {
                "more attack.steps, a random attack.start, a smaller attack.step_size or optimizer.learning_rate; the \
                 best model is kept"
            }
            Self::Collapse => "a smaller optimizer.learning_rate; the best model is kept",
            Self::RobustOverfitting => {
                "evaluation.on_overfitting = \"stop\" ends training here; the best model is kept"
            }
        }
    }
}

type Suspicion = Option<(AlarmKind, String)>;

/// Whether robust accuracy lies suddenly far below the best.
fn has_fallen(best: &Judgement, now: &Judgement) -> bool {
    let fall = best.adversarial - now.adversarial;
    let is_halved = now.adversarial <= best.adversarial / 2.0 + ROUNDING;
    fall >= FALL - ROUNDING || (is_halved && fall >= HALVING - ROUNDING)
}

fn sudden(best: &Judgement, previous: &Judgement, now: &Judgement) -> Suspicion {
    if !has_fallen(best, now) {
        return None;
    }
    let fall = best.adversarial - now.adversarial;
    let kind = match is_misled(best.fgsm, now.fgsm, fall) {
        Some(false) if has_fallen(best, previous) => AlarmKind::Collapse,
        Some(false) => return None,
        _ => AlarmKind::CatastrophicOverfitting,
    };
    let moved = best.fgsm.zip(now.fgsm).map_or(String::new(), |(was, is)| {
        format!(", under a single gradient step it went from {} to {}", percent(was), percent(is))
    });
    let (was, is) = (percent(best.adversarial), percent(now.adversarial));
    let from = best.step;
    let likely = match kind {
        AlarmKind::Collapse => "training is coming apart",
        _ => "catastrophic overfitting is likely",
    };
    Some((kind, format!("robust accuracy fell from {was} (step {from}) to {is}{moved}: {likely}")))
}

fn gap(now: &Judgement) -> Suspicion {
    let fgsm = now.fgsm?;
    let gap = fgsm - now.adversarial;
    let error = (0.5 / now.samples.max(1) as f64).sqrt();
    let is_halved = now.adversarial <= fgsm / 2.0 + ROUNDING;
    let least = if is_halved { HALVING } else { GAP };
    if gap < least.max(3.0 * error) - ROUNDING {
        return None;
    }
    let (many, one) = (percent(now.adversarial), percent(fgsm));
    let text = format!(
        "robust accuracy is {many} where a single gradient step leaves {one}: catastrophic overfitting is likely"
    );
    Some((AlarmKind::CatastrophicOverfitting, text))
}

/// Whether single gradient steps lost less than half of what many gained; unknown where none was judged.
fn is_misled(was: Option<f64>, is: Option<f64>, fall: f64) -> Option<bool> {
    Some(was? - is? < fall / 2.0)
}

/// Means over a window of validations, named by its last step.
struct Means {
    step: u64,
    held_out: f64,
    fgsm: Option<f64>,
    training: f64,
}

impl Means {
    fn of(window: &[Judgement]) -> Option<Self> {
        let mean = |figure: &dyn Fn(&Judgement) -> Option<f64>| -> Option<f64> {
            let figures: Option<Vec<f64>> = window.iter().map(figure).collect();
            Some(figures?.iter().sum::<f64>() / window.len() as f64)
        };
        Some(Self {
            step: window.last()?.step,
            held_out: mean(&|one| Some(one.adversarial))?,
            fgsm: mean(&|one| one.fgsm),
            training: mean(&|one| one.training)?,
        })
    }
}

fn slow(history: &[Judgement]) -> Suspicion {
    let mut means = history.windows(WINDOW).filter_map(Means::of);
    let now = means.next_back()?;
    let best = means.reduce(|a, b| if b.held_out > a.held_out { b } else { a })?;
    let samples = history.last()?.samples.max(1) as f64;
    let error = (2.0 * best.held_out * (1.0 - best.held_out) / samples).sqrt();
    let fall = best.held_out - now.held_out;
    let rise = now.training - best.training;
    if fall < DRIFT.max(2.0 * error) - ROUNDING || rise < DRIFT - ROUNDING {
        return None;
    }
    let (kind, name) = match is_misled(best.fgsm, now.fgsm, fall) {
        Some(true) => (AlarmKind::CatastrophicOverfitting, "catastrophic overfitting is likely"),
        _ => (AlarmKind::RobustOverfitting, "robust overfitting"),
    };
    let text = format!(
        "held-out robust accuracy fell from {} (step {}) to {} while that of training rose from {} to {}, means of \
         {WINDOW} validations: {name}",
        percent(best.held_out),
        best.step,
        percent(now.held_out),
        percent(best.training),
        percent(now.training)
    );
    Some((kind, text))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod g32_guards {
    use super::*;

    /// Validations of 500 images from (adversarial, FGSM, training).
    fn history(figures: &[(f64, f64, f64)]) -> Vec<Judgement> {
        let one = |(step, &(adversarial, fgsm, training)): (usize, &(f64, f64, f64))| Judgement {
            step: 100 * (step as u64 + 1),
            samples: 500,
            clean: 0.9,
            adversarial,
            fgsm: Some(fgsm),
            training: Some(training),
        };
        figures.iter().enumerate().map(one).collect()
    }

    fn kind(figures: &[(f64, f64, f64)]) -> Option<AlarmKind> {
        ringing(&history(figures)).map(|alarm| alarm.kind)
    }

    #[test]
    fn a_fall_of_25_points_under_pgd_while_fgsm_rises_is_catastrophic_overfitting() {
        let alarm = ringing(&history(&[(0.40, 0.45, 0.4), (0.15, 0.44, 0.6)])).expect("an alarm");
        assert_eq!(alarm.kind, AlarmKind::CatastrophicOverfitting);
        assert!(
            alarm.message.starts_with(
                "robust accuracy fell from 40.0 % (step 100) to 15.0 %, under a single gradient step it went from 45.0 % to 44.0 %"
            ),
            "{}",
            alarm.message
        );
        // A fifth of the images, and neither half of the accuracy nor half of FGSM's.
        assert_eq!(kind(&[(0.40, 0.45, 0.4), (0.201, 0.34, 0.6)]), None);
    }

    #[test]
    fn a_fall_of_15_points_to_half_of_the_best_is_one_too() {
        let halved = kind(&[(0.30, 0.36, 0.3), (0.15, 0.29, 0.5)]);
        assert_eq!(halved, Some(AlarmKind::CatastrophicOverfitting));
        assert_eq!(kind(&[(0.29, 0.36, 0.3), (0.15, 0.29, 0.5)]), None);
        assert_eq!(kind(&[(0.50, 0.56, 0.3), (0.30, 0.53, 0.5)]), None);
    }

    #[test]
    fn a_gap_of_30_points_rings_at_the_first_validation() {
        assert_eq!(kind(&[(0.40, 0.70, 0.9)]), Some(AlarmKind::CatastrophicOverfitting));
        assert_eq!(kind(&[(0.40, 0.69, 0.9)]), None);
        // 15 points are enough where they are half.
        assert_eq!(kind(&[(0.15, 0.30, 0.9)]), Some(AlarmKind::CatastrophicOverfitting));
        assert_eq!(kind(&[(0.13, 0.27, 0.9)]), None);
        // 30 points on 24 images are within three standard errors, 43 points.
        let mut few = history(&[(0.10, 0.50, 0.9)]);
        few[0].samples = 24;
        assert_eq!(ringing(&few), None);
        few[0].fgsm = Some(0.60);
        assert!(ringing(&few).is_some());
    }

    #[test]
    fn a_fall_of_everything_is_told_apart_and_only_if_it_lasts() {
        let fallen = [(0.60, 0.65, 0.6), (0.10, 0.12, 0.7), (0.12, 0.14, 0.2)];
        assert_eq!(kind(&fallen[..2]), None);
        assert_eq!(kind(&fallen), Some(AlarmKind::Collapse));
        let recovered = [fallen[0], fallen[1], (0.62, 0.65, 0.7)];
        assert_eq!(kind(&recovered), None);
    }

    #[test]
    fn a_slow_fall_on_held_out_images_while_training_rises_is_robust_overfitting() {
        let overfits: Vec<_> = (0..12)
            .map(|epoch| {
                let late = f64::from(epoch.max(4) - 4);
                (0.50 - 0.015 * late, 0.56 - 0.015 * late, 0.50 + 0.03 * f64::from(epoch))
            })
            .collect();
        // The same with single steps that hold out is the catastrophic kind, slowly.
        let misled: Vec<_> = overfits.iter().map(|&(p, _, t)| (p, 0.6, t)).collect();
        assert_eq!(kind(&misled[..11]), Some(AlarmKind::CatastrophicOverfitting));
        let begun = begun(&history(&overfits));
        assert_eq!(begun.len(), 1, "{begun:?}");
        assert_eq!(begun[0].kind, AlarmKind::RobustOverfitting);
        // Two standard errors at 500 images are 6.3 points: five epochs of 1.5 points after the best mean's.
        assert_eq!(begun[0].step, 1100);
        // The same fall while training falls as well is no overfitting.
        let worse: Vec<_> = overfits.iter().map(|&(p, f, _)| (p, f, 0.5)).collect();
        assert_eq!(super::begun(&history(&worse)), []);
    }

    #[test]
    fn noise_of_5_points_and_a_rise_ring_nothing() {
        let epochs = [0.50, 0.55, 0.50, 0.45, 0.55, 0.60, 0.55, 0.50, 0.55, 0.50];
        let noisy: Vec<_> = epochs
            .iter()
            .enumerate()
            .map(|(epoch, &p)| (p, p + 0.06, 0.40 + 0.02 * epoch as f64))
            .collect();
        assert_eq!(begun(&history(&noisy)), []);
    }

    #[test]
    fn training_on_clean_images_alone_has_no_robustness_to_lose() {
        let mut clean = history(&[(0.4, 0.9, 0.0), (0.0, 0.9, 0.0)]);
        clean.iter_mut().for_each(|one| one.training = None);
        assert_eq!(ringing(&clean), None);
    }

    #[test]
    fn an_alarm_that_goes_on_is_told_once() {
        let figures = [(0.5, 0.5, 0.5), (0.1, 0.6, 0.9), (0.1, 0.6, 0.9), (0.1, 0.7, 0.9)];
        assert_eq!(begun(&history(&figures)).len(), 1);
        assert_eq!(kind(&figures), Some(AlarmKind::CatastrophicOverfitting));
    }
}
