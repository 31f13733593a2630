//! A linear classifier behind the engine's border: small, exact, and with known answers.

use adamant::attack::{AttackStream, Passes};
use adamant::image::{Batch, Images, ImagesView, Logits, Shape};
use adamant::stream::{Key, Purpose, Stream};
use adamant::threat::{Norm, ThreatModel};
use adamant::victim::FrozenVictim;
use engine::{EngineError, Frozen, Session};

/// `logits = weight x + bias`, summed in double precision in pixel order.
#[derive(Clone, Debug)]
pub struct Linear {
    pub shape: Shape,
    pub classes: usize,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    /// Images per call of the loss, and per tile.
    pub tile: usize,
}

impl Linear {
    /// Normal weights of a seed; every class has the same expected logit on a grey image.
    pub fn random(shape: Shape, classes: usize, seed: u64) -> Self {
        let mut draws = draws(seed);
        let length = shape.len();
        let weight: Vec<f32> = (0..classes * length).map(|_| draws.normal()).collect();
        let bias = weight.chunks(length).map(|row| -0.5 * row.iter().sum::<f32>()).collect();
        Self { shape, classes, weight, bias, tile: 3 }
    }

    pub fn row(&self, class: usize) -> &[f32] {
        let length = self.shape.len();
        &self.weight[class * length..(class + 1) * length]
    }

    pub fn logits_of(&self, image: &[f32]) -> Vec<f32> {
        (0..self.classes)
            .map(|class| {
                let products = self.row(class).iter().zip(image);
                let sum: f64 = products.map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
                (sum + f64::from(self.bias[class])) as f32
            })
            .collect()
    }

    pub fn predictions(&self, images: &Images) -> Vec<u32> {
        let each = 0..images.count;
        each.map(|i| adamant::attack::prediction(&self.logits_of(images.one(i)))).collect()
    }

    /// `count` images with pixels in `[0.3, 0.7]`, labelled by this classifier itself.
    pub fn batch(&self, count: usize, seed: u64) -> Batch {
        let mut draws = draws(seed);
        let mut images = Images::zeros(count, self.shape);
        images.pixels.iter_mut().for_each(|pixel| *pixel = 0.3 + 0.4 * draws.uniform());
        let labels = self.predictions(&images);
        Batch { images, labels, indices: (0..count as u64).map(|i| 10 * i + 3).collect() }
    }
}

impl Frozen for Linear {
    type Session<'a> = LinearSession<'a>;
    fn session(&self) -> LinearSession<'_> {
        LinearSession(self)
    }
    fn tile(&self) -> usize {
        self.tile
    }
    fn input(&self) -> Shape {
        self.shape
    }
    fn classes(&self) -> usize {
        self.classes
    }
}

#[derive(Debug)]
pub struct LinearSession<'a>(pub &'a Linear);

impl Session for LinearSession<'_> {
    fn logits(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        let rows = images.pixels.chunks(self.0.shape.len());
        let values = rows.flat_map(|image| self.0.logits_of(image)).collect();
        Ok(Logits { count: images.count, classes: self.0.classes, values })
    }

    fn input_gradient(
        &mut self,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        let logits = self.logits(images)?;
        let (classes, length) = (self.0.classes, self.0.shape.len());
        let mut pixels = Vec::with_capacity(images.pixels.len());
        for first in (0..images.count).step_by(self.0.tile) {
            let count = self.0.tile.min(images.count - first);
            let values = logits.values[first * classes..(first + count) * classes].to_vec();
            let some = Logits { count, classes, values };
            let mut by_logits = Logits::zeros(count, classes);
            loss(&some, first, &mut by_logits);
            for image in 0..count {
                for pixel in 0..length {
                    let each = by_logits.row(image).iter().enumerate();
                    let sum: f64 = each
                        .map(|(class, &g)| f64::from(g) * f64::from(self.0.row(class)[pixel]))
                        .sum();
                    pixels.push(sum as f32);
                }
            }
        }
        Ok((logits, pixels))
    }
}

/// Runs `attack` on the whole batch in one session.
pub fn attacked(
    linear: &Linear,
    attack: &dyn adamant::attack::Attack,
    batch: &Batch,
    stream: &AttackStream,
) -> (adamant::attack::Perturbed, Passes) {
    use adamant::attack::Victim;
    let mut session = linear.session();
    let mut victim = FrozenVictim::new(&mut session, linear.classes);
    let perturbed = attack.perturb(&mut victim, batch, stream).expect("a sound attack");
    (perturbed, victim.passes())
}

pub fn draws(seed: u64) -> adamant::stream::Draws {
    let key = Key { purpose: Purpose::Initialize, time: 0, index: 0, restart: 0 };
    Stream::new(seed).draws(key)
}

pub fn stream(seed: u64) -> AttackStream {
    AttackStream { stream: Stream::new(seed), time: 0, rank: 0, first_restart: 0 }
}

pub fn threat(norm: Norm, epsilon: &str) -> ThreatModel {
    ThreatModel::new(norm, epsilon.parse().expect("a length")).expect("a threat")
}
