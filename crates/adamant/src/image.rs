//! Images, labels and logits: the values that data, attacks, objectives and evaluation exchange.

pub use engine::{ImagesView, Logits};
pub use network::Shape;

/// Images in `[0, 1]`, row-major `[count, C, H, W]`, RGB (T18: scaling is inside the network).
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// Shape of one.
    pub shape: Shape,
    /// All pixels.
    pub pixels: Vec<f32>,
}

/// The true class of every image; labels are always required (T26).
pub type Labels = Vec<u32>;

impl Images {
    /// All black.
    pub fn zeros(count: usize, shape: Shape) -> Self {
        Self { count, shape, pixels: vec![0.0; count * shape.len()] }
    }

    /// As the engine reads them.
    pub fn view(&self) -> ImagesView<'_> {
        ImagesView { count: self.count, shape: self.shape, pixels: &self.pixels }
    }

    /// The pixels of image `index`.
    pub fn one(&self, index: usize) -> &[f32] {
        &self.pixels[index * self.shape.len()..(index + 1) * self.shape.len()]
    }

    /// The pixels of image `index`, changeable.
    pub fn one_mut(&mut self, index: usize) -> &mut [f32] {
        let length = self.shape.len();
        &mut self.pixels[index * length..(index + 1) * length]
    }

    /// The images at `positions`, in that order.
    pub fn select(&self, positions: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(positions.len() * self.shape.len());
        for &position in positions {
            pixels.extend_from_slice(self.one(position));
        }
        Self { count: positions.len(), shape: self.shape, pixels }
    }
}

/// Some images of a data set with their labels and positions in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Pixels.
    pub images: Images,
    /// True classes, one per image.
    pub labels: Labels,
    /// Positions in the data set: every random draw for an image is keyed by its position.
    pub indices: Vec<u64>,
}

impl Batch {
    /// The images at `positions` of this batch, in that order.
    pub fn select(&self, positions: &[usize]) -> Self {
        Self {
            images: self.images.select(positions),
            labels: positions.iter().map(|&p| self.labels[p]).collect(),
            indices: positions.iter().map(|&p| self.indices[p]).collect(),
        }
    }
}
