//! Adversarial images to keep: every image attacked once, checked, and what the judge says of it.

use super::evaluator::{Evaluator, Observer, check_networks, read, stream};
use super::{EvaluateError, Examples, check, judge};
use crate::attack::Attack;
use crate::image::{Images, Labels};
use crate::victim::perturb_in_tiles;
use engine::{Engine, Precision};
use network::Network;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Images before and after one attack.
#[derive(Clone, Debug, PartialEq)]
pub struct Crafted {
    /// As the data set has them.
    pub images: Images,
    /// After the attack, inside ball and pixel range.
    pub adversarial: Images,
    /// True classes.
    pub labels: Labels,
    /// What the judged network says of the images as they are.
    pub clean_predictions: Vec<u32>,
    /// What the judged network says of the adversarial images.
    pub predictions: Vec<u32>,
    /// Positions in the data set.
    pub indices: Vec<u64>,
}

impl Evaluator {
    /// Attacks every image with `attack`, whatever the network says of it as it is; [`Evaluator::attacks`] stay aside.
    /// What stands in another precision than f32 is attacked again in f32.
    ///
    /// Errors: as [`Evaluator::evaluate`].
    pub fn craft<E: Engine>(
        &self,
        attack: &dyn Attack,
        engine: &E,
        network: &Network,
        examples: &dyn Examples,
        observer: &mut dyn Observer,
    ) -> Result<Crafted, EvaluateError> {
        let attacked = engine.freeze(network, self.attack_branch, self.precision)?;
        let judged = engine.freeze(network, self.branch, Precision::F32)?;
        let exact = || engine.freeze(network, self.attack_branch, Precision::F32);
        let exact = (self.precision != Precision::F32).then(exact).transpose()?;
        check_networks(&attacked, &judged, examples, self.batch_size)?;
        let positions = self.samples.positions(examples.count(), self.seed)?;
        let mut crafted = Crafted {
            images: Images::zeros(0, examples.shape()),
            adversarial: Images::zeros(0, examples.shape()),
            labels: Vec::new(),
            clean_predictions: Vec::new(),
            predictions: Vec::new(),
            indices: Vec::new(),
        };
        let name = attack.name();
        observer.begin(&name, positions.len());
        for chunk in positions.chunks(self.batch_size) {
            let batch = read(examples, chunk, network.graph.classes)?;
            let stream = stream(self.seed, 0);
            let (mut perturbed, _) = perturb_in_tiles(&attacked, attack, &batch, &stream)?;
            check::proposal(&name, &self.threat, &batch, &perturbed)?;
            let mut predictions = judge(&judged, &perturbed.images, &batch)?;
            if let Some(exact) = &exact {
                let stood = (0..chunk.len()).filter(|&row| predictions[row] == batch.labels[row]);
                let stood: Vec<usize> = stood.collect();
                let some = batch.select(&stood);
                let (again, _) = perturb_in_tiles(exact, attack, &some, &stream)?;
                check::proposal(&name, &self.threat, &some, &again)?;
                let after = judge(&judged, &again.images, &some)?;
                for (row, position) in stood.into_iter().enumerate() {
                    perturbed.images.one_mut(position).copy_from_slice(again.images.one(row));
                    predictions[position] = after[row];
                }
            }
            crafted.clean_predictions.extend(judge(&judged, &batch.images, &batch)?);
            let right = predictions.iter().zip(&batch.labels).filter(|(p, l)| p == l).count();
            observer.judged(chunk.len(), right);
            append(&mut crafted.images, batch.images);
            append(&mut crafted.adversarial, perturbed.images);
            crafted.labels.extend(batch.labels);
            crafted.predictions.extend(predictions);
            crafted.indices.extend(batch.indices);
        }
        Ok(crafted)
    }
}

fn append(all: &mut Images, some: Images) {
    all.count += some.count;
    all.pixels.extend(some.pixels);
}

impl Crafted {
    /// The bytes of a safetensors file.
    ///
    /// Shapes: `images` and `adversarial` `[n, C, H, W]`, f32 in `[0, 1]`; `labels`, `predictions`, `clean_predictions` and
    /// `indices` `[n]`,
    /// 64-bit integers as PyTorch has them.
    pub fn to_safetensors(&self) -> Vec<u8> {
        let shape = self.images.shape;
        let pixels = vec![self.images.count, shape.channels, shape.height, shape.width];
        let floats = |images: &Images| -> Vec<u8> {
            images.pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect()
        };
        let integers = |values: &mut dyn Iterator<Item = i64>| -> Vec<u8> {
            values.flat_map(i64::to_le_bytes).collect()
        };
        let count = vec![self.images.count];
        let tensors = [
            ("images", Dtype::F32, pixels.clone(), floats(&self.images)),
            ("adversarial", Dtype::F32, pixels, floats(&self.adversarial)),
            (
                "labels",
                Dtype::I64,
                count.clone(),
                integers(&mut self.labels.iter().map(|&label| i64::from(label))),
            ),
            (
                "predictions",
                Dtype::I64,
                count.clone(),
                integers(&mut self.predictions.iter().map(|&class| i64::from(class))),
            ),
            (
                "clean_predictions",
                Dtype::I64,
                count.clone(),
                integers(&mut self.clean_predictions.iter().map(|&class| i64::from(class))),
            ),
            (
                "indices",
                Dtype::I64,
                count,
                integers(&mut self.indices.iter().map(|&index| index as i64)),
            ),
        ];
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (*name, view.expect("each tensor has the length its shape says"))
        });
        safetensors::serialize(views, None).expect("six short names fit a header")
    }
}
