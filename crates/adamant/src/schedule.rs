//! The learning rate as a function of the step.

/// The learning rate for a total batch by linear scaling: `per_256 * batch / 256`.
///
/// The division is real: in integers every batch below 256 would get 0 (T50).
/// Source: Goyal et al. 2017; FAIR code with `per_256 = 0.1`.
pub fn linear_scaling(per_256: f64, total_batch: usize) -> f64 {
    per_256 * total_batch as f64 / 256.0
}

/// How the learning rate moves over a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The rate after warm-up.
    pub base: f64,
    /// How it is reached.
    pub warm_up: WarmUp,
    /// How it falls.
    pub decay: Decay,
    /// Steps in an epoch.
    pub steps_per_epoch: u64,
    /// Epochs in all.
    pub epochs: f64,
}

/// How the base rate is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WarmUp {
    /// At once.
    None,
    /// On a line, step by step, from a rate that is safe for any batch; at once if the base is not above it.
    ///
    /// The paper's: from .1 over the first 5 epochs.
    Linear {
        /// Rate of step 0.
        from: f64,
        /// Epochs until the base.
        epochs: f64,
    },
}

/// How the rate falls from the base.
#[derive(Clone, Debug, PartialEq)]
pub enum Decay {
    /// Not at all.
    Constant,
    /// By a factor after each of some epochs; the paper's: .1 after 35, 70 and 95.
    Milestones {
        /// Epochs that end a level.
        after: Vec<f64>,
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// Along half a cosine, from the end of warm-up to zero at the end of the run.
    Cosine,
}

impl Schedule {
    /// The rate of step `step`, counted from 0.
    pub fn learning_rate(&self, step: u64) -> f64 {
        let epoch = step as f64 / self.steps_per_epoch as f64;
        let warm = match self.warm_up {
            WarmUp::Linear { from, epochs } if self.base > from => {
                if epoch < epochs {
                    return from + (self.base - from) * epoch / epochs;
                }
                epochs
            }
            _ => 0.0,
        };
        match &self.decay {
            Decay::Constant => self.base,
            Decay::Milestones { after, factor } => {
                let passed = after.iter().filter(|&&milestone| epoch >= milestone).count();
                self.base * factor.powi(passed as i32)
            }
            Decay::Cosine => {
                let done = ((epoch - warm) / (self.epochs - warm)).clamp(0.0, 1.0);
                self.base * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

#[cfg(test)]
mod g27_schedule {
    use super::*;

    fn paper(total_batch: usize, steps_per_epoch: u64) -> Schedule {
        Schedule {
            base: linear_scaling(0.1, total_batch),
            warm_up: WarmUp::Linear { from: 0.1, epochs: 5.0 },
            decay: Decay::Milestones { after: vec![35.0, 70.0, 95.0], factor: 0.1 },
            steps_per_epoch,
            epochs: 110.0,
        }
    }

    fn is_close(found: f64, expected: f64) -> bool {
        (found / expected - 1.0).abs() < 1e-6
    }

    #[test]
    fn batch_4096_warms_up_from_a_tenth_and_falls_at_the_papers_epochs() {
        let (schedule, epoch) = (paper(4096, 313), 313);
        for (step, expected) in [
            (0, 0.1),
            (5 * epoch, 1.6),
            (35 * epoch - 1, 1.6),
            (35 * epoch, 0.16),
            (70 * epoch, 0.016),
            (95 * epoch, 0.0016),
            (110 * epoch - 1, 0.0016),
        ] {
            let found = schedule.learning_rate(step);
            assert!(is_close(found, expected), "step {step}: {found}, expected {expected}");
        }
        // Per step, not per epoch: half way through the first epoch the rate has moved.
        let first = 0.1 + 1.5 / (5.0 * 313.0);
        assert!(is_close(schedule.learning_rate(1), first));
    }

    #[test]
    fn batch_128_gets_a_twentieth_and_no_warm_up() {
        let schedule = paper(128, 10_009);
        assert!(is_close(schedule.learning_rate(0), 0.05));
        assert!(is_close(schedule.learning_rate(10_009), 0.05));
        assert!(is_close(schedule.learning_rate(35 * 10_009), 0.005));
    }

    #[test]
    fn a_cosine_begins_after_warm_up_and_ends_at_zero() {
        let warm_up = WarmUp::Linear { from: 0.01, epochs: 2.0 };
        let (base, decay) = (0.2, Decay::Cosine);
        let schedule = Schedule { base, warm_up, decay, steps_per_epoch: 10, epochs: 12.0 };
        assert_eq!(schedule.learning_rate(0), 0.01);
        assert_eq!(schedule.learning_rate(20), 0.2);
        assert!(is_close(schedule.learning_rate(70), 0.1));
        assert!(schedule.learning_rate(120).abs() < 1e-12);
    }

    #[test]
    fn a_constant_rate_stays() {
        let (warm_up, decay) = (WarmUp::None, Decay::Constant);
        let schedule = Schedule { base: 0.3, warm_up, decay, steps_per_epoch: 7, epochs: 3.0 };
        assert_eq!([schedule.learning_rate(0), schedule.learning_rate(20)], [0.3, 0.3]);
    }
}
