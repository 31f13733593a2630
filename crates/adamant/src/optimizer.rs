//! Stochastic gradient descent as PyTorch computes it.

use network::{Parameter, Parameters, Role};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Whether the step looks ahead along the momentum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Momentum {
    /// Steps along the momentum.
    Heavy,
    /// Steps along gradient plus momentum.
    Nesterov,
}

/// What the optimiser is told once; the paper's values are the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdSettings {
    /// Share of the last step's direction that is kept.
    pub momentum: f32,
    /// How it enters.
    pub kind: Momentum,
    /// `weight_decay * weight` is added to the gradient of convolution and linear weights, nothing else (T52).
    pub weight_decay: f32,
    /// Which parameters move.
    pub learns: Learns,
}

impl Default for SgdSettings {
    fn default() -> Self {
        let learns = Learns::Everything;
        Self { momentum: 0.9, kind: Momentum::Nesterov, weight_decay: 1e-4, learns }
    }
}

/// Which parameters training moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learns {
    /// All.
    #[default]
    Everything,
    /// All but convolutions: filters learnt elsewhere are fitted with new normalisation and a new classifier.
    NormsAndClassifier,
}

impl Learns {
    /// Whether `parameter` may move. A convolution's tensors are its weight, of four dimensions, and a bias of one that
    /// stays with the norms.
    fn moves(self, parameter: &Parameter) -> bool {
        let is_filter = parameter.role == Role::Weight && parameter.shape.len() == 4;
        self == Self::Everything || !is_filter
    }
}

/// Stochastic gradient descent with momentum, without dampening (T54).
///
/// `d = g + decay * p`, `v = momentum * v + d`, `p -= rate * (d + momentum * v)`; the last sum is `v` without Nesterov.
/// Source: `torch.optim.SGD`; its first step sets `v = d`, which starting from zero gives too.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    settings: SgdSettings,
    /// The momentum `v` by position of parameter; statistics have empty entries. All that a checkpoint must keep.
    pub velocity: Vec<Vec<f32>>,
}

impl Sgd {
    /// An optimiser at rest.
    pub fn new(settings: SgdSettings, parameters: &Parameters) -> Self {
        let at_rest = |p: &network::Parameter| match p.role.is_learnt() {
            true => vec![0.0; p.values.len()],
            false => Vec::new(),
        };
        Self { settings, velocity: parameters.iter().map(at_rest).collect() }
    }

    /// Moves every learnt parameter by one step.
    ///
    /// Shapes: `gradients` by position of parameter, as the engine gives them; statistics are left alone.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &[Vec<f32>], rate: f32) {
        assert_eq!(parameters.len(), gradients.len(), "one gradient per parameter");
        assert_eq!(parameters.len(), self.velocity.len(), "one velocity per parameter");
        let SgdSettings { momentum, kind, weight_decay, learns } = self.settings;
        let work: Vec<_> = parameters.iter_mut().zip(gradients).zip(&mut self.velocity).collect();
        // Elementwise, so the threads cannot change a bit.
        work.into_par_iter().for_each(|((parameter, gradient), velocity)| {
            if !parameter.role.is_learnt() || !learns.moves(parameter) {
                return;
            }
            let name = &parameter.name;
            assert_eq!(parameter.values.len(), gradient.len(), "gradient of {name}");
            assert_eq!(parameter.values.len(), velocity.len(), "velocity of {name}");
            let decay = if parameter.role.decays() { weight_decay } else { 0.0 };
            for ((p, &g), v) in parameter.values.iter_mut().zip(gradient).zip(velocity) {
                let d = g + decay * *p;
                *v = momentum * *v + d;
                *p -= rate
                    * match kind {
                        Momentum::Nesterov => d + momentum * *v,
                        Momentum::Heavy => *v,
                    };
            }
        });
    }
}

/// The Euclidean length of all gradients together, in an order that no thread changes; NaN or infinite if any entry is.
pub fn gradient_norm(gradients: &[Vec<f32>]) -> f64 {
    const RUN: usize = 1 << 14;
    let runs: Vec<&[f32]> = gradients.iter().flat_map(|gradient| gradient.chunks(RUN)).collect();
    let sums: Vec<f64> = runs.into_par_iter().map(squares).collect();
    sums.iter().sum::<f64>().sqrt()
}

/// Eight sums side by side: one alone would wait for each addition.
fn squares(run: &[f32]) -> f64 {
    let mut sums = [0.0; 8];
    for entries in run.chunks(8) {
        for (sum, &entry) in sums.iter_mut().zip(entries) {
            *sum += f64::from(entry) * f64::from(entry);
        }
    }
    sums.iter().sum()
}

/// The parameter nearest to the loss whose gradient is NaN or infinite (T51): a backward meets it first.
pub fn non_finite_gradient<'p>(
    parameters: &'p Parameters,
    gradients: &[Vec<f32>],
) -> Option<&'p str> {
    let named = parameters.iter().zip(gradients);
    let broken = named.filter(|(_, gradient)| !gradient.iter().all(|g| g.is_finite()));
    broken.last().map(|(parameter, _)| parameter.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        let mut parameters = Parameters::default();
        for (name, role) in [
            ("conv.weight", Role::Weight),
            ("bn.weight", Role::Scale),
            ("bn.running_mean", Role::RunningMean),
            ("fc.bias", Role::Bias),
        ] {
            let values = vec![0.5, -1.25, 2.0];
            parameters.push(Parameter { name: name.to_owned(), role, shape: vec![3], values });
        }
        parameters
    }

    fn gradient(step: usize, position: usize) -> f64 {
        f64::from(((step * 3 + position) as f64 * 0.37).sin() as f32)
    }

    /// The rule of `torch.optim.SGD`, written down once more in double precision.
    fn reference(kind: Momentum, decay: f64, steps: usize) -> Vec<f64> {
        let start = [0.5, -1.25, 2.0];
        let mut result = Vec::new();
        for (position, mut p) in start.into_iter().enumerate() {
            let mut buffer: Option<f64> = None;
            for step in 0..steps {
                let d = gradient(step, position) + decay * p;
                let v = buffer.map_or(d, |b| 0.9 * b + d);
                buffer = Some(v);
                p -= 0.05 * if kind == Momentum::Nesterov { d + 0.9 * v } else { v };
            }
            result.push(p);
        }
        result
    }

    #[test]
    fn g27_a_hundred_steps_are_the_double_precision_rule_and_only_weights_decay() {
        for kind in [Momentum::Nesterov, Momentum::Heavy] {
            let mut moving = parameters();
            let settings =
                SgdSettings { momentum: 0.9, kind, weight_decay: 0.01, ..Default::default() };
            let mut sgd = Sgd::new(settings, &moving);
            for step in 0..100 {
                let some: Vec<f32> = (0..3).map(|i| gradient(step, i) as f32).collect();
                let gradients = vec![some.clone(), some.clone(), Vec::new(), some];
                sgd.step(&mut moving, &gradients, 0.05);
            }
            let check = |name: &str, decay: f64| {
                let found = &moving.get(name).expect("it was pushed").values;
                for (f, r) in found.iter().zip(reference(kind, decay, 100)) {
                    // Rounding of 100 single-precision steps on values of order 1.
                    assert!((f64::from(*f) - r).abs() < 1e-5, "{kind:?} {name}: {f} {r}");
                }
            };
            check("conv.weight", 0.01);
            check("bn.weight", 0.0);
            check("fc.bias", 0.0);
            let statistics = moving.get("bn.running_mean").expect("it was pushed");
            assert_eq!(statistics.values, [0.5, -1.25, 2.0]);
            // The two rules and the two decays part by far more than the tolerance.
            assert!((reference(kind, 0.01, 100)[2] - reference(kind, 0.0, 100)[2]).abs() > 1e-2);
        }
    }

    #[test]
    fn g32_a_gradient_that_is_no_number_is_found_by_name() {
        let parameters = parameters();
        let mut gradients = vec![vec![0.0; 3], vec![0.0; 3], Vec::new(), vec![3.0, 0.0, 4.0]];
        assert_eq!(non_finite_gradient(&parameters, &gradients), None);
        assert_eq!(gradient_norm(&gradients), 5.0);
        gradients[1][2] = f32::NAN;
        assert_eq!(non_finite_gradient(&parameters, &gradients), Some("bn.weight"));
        assert!(gradient_norm(&gradients).is_nan());
    }
}
