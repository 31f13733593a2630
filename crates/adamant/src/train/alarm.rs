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

/// A slow fall of the mean over [`WINDOW`] validations, and a rise in training, from which robust overfitting is meant:
/// 3 points, or two standard errors where these are more.
const DRIFT: f64 = 0.03;

/// Validations in a mean: single epochs at a high learning rate differ by several points.
const WINDOW: usize = 3;

/// The rounding of a difference must not decide at the very edge.
const ROUNDING: f64 = 1e-9;

/// The alarm that holds after the last of `history`; the first of these rules that applies.
///
/// With p the accuracy under PGD, f that under FGSM, t that of training and n the held-out images:
/// - catastrophic overfitting: f - p >= 30 points and three standard errors of a difference, sqrt(1 / 2n); or p is 25
///   points or more below the best before while f fell by less than half of that;
/// - collapse: p is 25 points or more below the best before, and f fell too;
/// - robust overfitting: the mean of the last three p is 3 points and two standard errors, sqrt(2 p (1 - p) / n), below
///   the best such mean before, while the mean of t is 3 points or more above its value then.
pub fn ringing(history: &[Judgement]) -> Option<Alarm> {
    let (now, before) = history.split_last()?;
    // Where nothing adversarial is trained, no robustness can be lost.
    now.training?;
    sudden(now, before).or_else(|| slow(now, history))
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

fn sudden(now: &Judgement, before: &[Judgement]) -> Option<Alarm> {
    let alarm = |kind, message| Some(Alarm { step: now.step, kind, message });
    let best = before.iter().reduce(|a, b| if b.adversarial > a.adversarial { b } else { a });
    if let Some(best) = best {
        let fall = best.adversarial - now.adversarial;
        if fall >= FALL - ROUNDING {
            let (was, is) = (percent(best.adversarial), percent(now.adversarial));
            let fell = format!("robust accuracy fell from {was} (step {}) to {is}", best.step);
            let (kind, what) = match (best.fgsm, now.fgsm) {
                (Some(was), Some(is)) if was - is >= fall / 2.0 => {
                    let fgsm = format!("under FGSM from {} to {}", percent(was), percent(is));
                    (AlarmKind::Collapse, format!("{fgsm}: training is coming apart"))
                }
                (was, is) => {
                    let fgsm = was.zip(is).map_or(String::new(), |(was, is)| {
                        format!("under FGSM it went from {} to {}", percent(was), percent(is))
                    });
                    let likely = "catastrophic overfitting is likely";
                    let told =
                        if fgsm.is_empty() { likely.into() } else { format!("{fgsm}: {likely}") };
                    (AlarmKind::CatastrophicOverfitting, told)
                }
            };
            return alarm(kind, format!("{fell}, {what}{SUDDEN_HINT}"));
        }
    }
    let fgsm = now.fgsm?;
    let error = (0.5 / now.samples.max(1) as f64).sqrt();
    if fgsm - now.adversarial < GAP.max(3.0 * error) - ROUNDING {
        return None;
    }
    let (many, one) = (percent(now.adversarial), percent(fgsm));
    let text = format!(
        "robust accuracy is {many} where a single gradient step leaves {one}: catastrophic overfitting is \
         likely{SUDDEN_HINT}"
    );
    alarm(AlarmKind::CatastrophicOverfitting, text)
}

const SUDDEN_HINT: &str = "\n  hint: more attack.steps, a smaller attack.step_size or optimizer.learning_rate; the best \
                           model is kept";

fn slow(now: &Judgement, history: &[Judgement]) -> Option<Alarm> {
    let mut means = history.windows(WINDOW).filter_map(|window| {
        let mean = |figures: Vec<f64>| figures.iter().sum::<f64>() / WINDOW as f64;
        let training: Option<Vec<f64>> = window.iter().map(|one| one.training).collect();
        let held_out = window.iter().map(|one| one.adversarial).collect();
        Some((window[WINDOW - 1].step, mean(held_out), mean(training?)))
    });
    let (_, held_out, training) = means.next_back()?;
    let best = means.reduce(|a, b| if b.1 > a.1 { b } else { a })?;
    let error = (2.0 * best.1 * (1.0 - best.1) / now.samples.max(1) as f64).sqrt();
    let falls = best.1 - held_out >= DRIFT.max(2.0 * error) - ROUNDING;
    let rises = training - best.2 >= DRIFT - ROUNDING;
    (falls && rises).then(|| Alarm {
        step: now.step,
        kind: AlarmKind::RobustOverfitting,
        message: format!(
            "held-out robust accuracy fell from {} (step {}) to {} while that of training rose from {} to {}, means of \
             {WINDOW} validations: robust overfitting\n  \
             hint: stop here, evaluation.on_overfitting = \"stop\" does so; the best model is kept",
            percent(best.1),
            best.0,
            percent(held_out),
            percent(best.2),
            percent(training)
        ),
    })
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
                "robust accuracy fell from 40.0 % (step 100) to 15.0 %, under FGSM it went from 45.0 % to 44.0 %"
            ),
            "{}",
            alarm.message
        );
        assert_eq!(kind(&[(0.40, 0.45, 0.4), (0.151, 0.44, 0.6)]), None);
    }

    #[test]
    fn a_gap_of_30_points_rings_at_the_first_validation() {
        assert_eq!(kind(&[(0.02, 0.32, 0.9)]), Some(AlarmKind::CatastrophicOverfitting));
        assert_eq!(kind(&[(0.02, 0.31, 0.9)]), None);
        // 30 points on 24 images are within three standard errors, 43 points.
        let mut few = history(&[(0.10, 0.50, 0.9)]);
        few[0].samples = 24;
        assert_eq!(ringing(&few), None);
        few[0].fgsm = Some(0.60);
        assert!(ringing(&few).is_some());
    }

    #[test]
    fn a_fall_of_everything_is_told_apart() {
        assert_eq!(kind(&[(0.60, 0.65, 0.6), (0.10, 0.12, 0.1)]), Some(AlarmKind::Collapse));
    }

    #[test]
    fn a_slow_fall_on_held_out_images_while_training_rises_is_robust_overfitting() {
        let overfits: Vec<_> = (0..12)
            .map(|epoch| {
                let late = f64::from(epoch.max(4) - 4);
                (0.50 - 0.015 * late, 0.56 - 0.015 * late, 0.50 + 0.03 * f64::from(epoch))
            })
            .collect();
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
