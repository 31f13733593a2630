//! The overfitting guard: robust accuracy on held-out images that falls suddenly.
//!
//! Catastrophic overfitting leaves clean accuracy alone and destroys robustness within an epoch (Wong, Rice & Kolter
//! 2020, "Fast is better than free"); unnoticed, a run goes on for nothing and its last model is published (T45, T27).

/// A fall that is no noise: 25 points. On 500 images, chance moves robust accuracy by about 4 points in two standard
/// deviations, so epochs of a healthy run stay far inside it.
const FALL: f64 = 0.25;

/// Says what happened if robust accuracy lies 25 points or more below the best so far.
///
/// Units: both shares in `[0, 1]`.
pub fn warning(best: f64, now: f64) -> Option<String> {
    // The rounding of a difference must not decide at the very edge.
    (best - now >= FALL - 1e-9).then(|| {
        format!(
            "robust accuracy fell from {:.1} % to {:.1} %: catastrophic overfitting is likely\n  \
             hint: more attack.steps, a smaller attack.step_size or optimizer.learning_rate; the best model is kept",
            100.0 * best,
            100.0 * now
        )
    })
}

#[cfg(test)]
mod g32_guards {
    use super::*;

    #[test]
    fn the_guard_fires_on_a_fall_of_25_points() {
        let message = warning(0.60, 0.35).expect("a fall of 25 points");
        assert!(message.starts_with("robust accuracy fell from 60.0 % to 35.0 %"), "{message}");
    }

    #[test]
    fn the_guard_does_not_fire_on_noise_of_5_points_or_on_a_rise() {
        let epochs = [0.50, 0.55, 0.50, 0.45, 0.55, 0.60, 0.55, 0.50];
        let mut best: f64 = 0.0;
        for now in epochs {
            assert_eq!(warning(best, now), None);
            best = best.max(now);
        }
    }
}
