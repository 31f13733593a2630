//! What is timed: a network, images and labels, all random, all dense.

use super::BenchArguments;
use crate::failure::OrWrongUsage;
use adamant::image::{Batch, Images};
use adamant::stream::{Key, Purpose, Stream};
use adamant::train::plan::Plan;
use adamant::train::recipe::Recipe;
use network::{Architecture, Count, Domain, Network, Role, Shape};
use std::path::Path;

/// The network and the batch.
pub struct Subject {
    /// The experiment whose step is timed.
    pub plan: Plan,
    /// Random weights and plausible running statistics.
    pub network: Network,
    /// Random images with random labels.
    pub batch: Batch,
    /// What one image costs.
    pub count: Count,
    /// The branch that is attacked.
    pub domain: Domain,
}

impl Subject {
    /// As the arguments say. Errors: an unknown architecture, or a size of image it cannot take.
    pub fn new(arguments: &BenchArguments) -> anyhow::Result<Self> {
        let norm = match arguments.method {
            super::Method::Mixture => "mixture",
            super::Method::AdversarialOnly => "batch",
        };
        let sets = [
            format!("network.architecture={:?}", arguments.arch),
            format!("network.norm={norm:?}"),
            format!("objective.kind={:?}", arguments.method.name()),
            format!("attack.steps={}", arguments.steps),
            format!("training.batch_size={}", arguments.batch),
        ];
        let native = Architecture::named(&arguments.arch).or_wrong_usage()?;
        let recipe = Recipe::parse("", Path::new("adamant bench"), &sets).or_wrong_usage()?;
        let plan = Plan::new(&recipe).or_wrong_usage()?;
        let side = arguments.image.map_or(native.input.height, |side| side.get());
        let input = Shape::new(native.input.channels, side, side);
        let mut network = plan.network(input, native.classes).or_wrong_usage()?;
        make_plausible(&mut network);
        let count = network.graph.count().or_wrong_usage()?;
        let batch = random_batch(arguments.batch.get(), input, native.classes);
        let domain = plan.crafting.domain;
        Ok(Self { plan, network, batch, count, domain })
    }
}

fn draws(index: usize) -> adamant::stream::Draws {
    const SEED: u64 = 0x6265_6e63_6800;
    let index = u32::try_from(index).expect("fewer than 2^32 tensors and images");
    Stream::new(SEED).draws(Key { purpose: Purpose::Initialize, time: 0, index, restart: 0 })
}

/// As after some training: every channel its own statistics, no branch silent. Initial networks have residual branches
/// that give zero, and zeros are faster than numbers.
fn make_plausible(network: &mut Network) {
    for (index, parameter) in network.parameters.iter_mut().enumerate() {
        let mut draws = draws(index);
        let mut around = |center: f32, spread: f32| {
            parameter.values.fill_with(|| center + spread * (2.0 * draws.uniform() - 1.0));
        };
        match parameter.role {
            Role::Scale => around(0.5, 0.1),
            Role::Shift => around(0.0, 0.2),
            Role::RunningMean => around(0.0, 0.2),
            Role::RunningVariance => around(1.0, 0.2),
            Role::Gain => around(0.5, 0.0),
            _ => {}
        }
    }
}

fn random_batch(count: usize, shape: Shape, classes: usize) -> Batch {
    let mut images = Images::zeros(count, shape);
    let mut labels = Vec::with_capacity(count);
    for index in 0..count {
        let mut draws = draws(1 << 20 | index);
        images.one_mut(index).fill_with(|| draws.uniform());
        labels.push(draws.below(u32::try_from(classes).expect("fewer than 2^32 classes")));
    }
    Batch { images, labels, indices: (0..count as u64).collect() }
}
