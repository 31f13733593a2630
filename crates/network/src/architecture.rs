//! Architectures as plain data, and the names users write for them.
//!
//! [`Architecture::named`] reads a name such as `resnet18-cifar`, the fields may then be changed, and
//! [`Architecture::graph`] builds the graph.

use crate::{Activation, Graph, NetworkError, RunningVariance, Shape, Sharing};
use crate::{cifar_resnet, resnet, wide_resnet};
use serde::{Deserialize, Serialize};

/// Everything that decides a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Which builder.
    pub family: Family,
    /// Number of layers, as in the name.
    pub depth: usize,
    /// Channels of the first stage: 64 in [`Family::Resnet`] and 16 in [`Family::CifarResnet`] unless changed, 16 k in
    /// `wrn-d-k`.
    pub width: usize,
    /// What precedes the first stage.
    pub stem: Stem,
    /// What a residual branch is added to where channels or size change.
    pub shortcut: Shortcut,
    /// The normalisation of every layer.
    pub norm: NormChoice,
    /// The nonlinearity of every layer.
    pub activation: Activation,
    /// What the network does to pixels before its first layer.
    pub scaling: InputScaling,
    /// Shape of one image.
    pub input: Shape,
    /// Number of classes.
    pub classes: usize,
}

/// A family of networks: one builder each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Four stages, torchvision's names: [`crate::resnet`].
    Resnet,
    /// Three stages of basic blocks, depth 6n+2: [`crate::cifar_resnet`].
    CifarResnet,
    /// Three stages of wide pre-activation blocks, depth 6n+4: [`crate::wide_resnet`].
    WideResnet,
}

/// What precedes the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// 7x7 convolution of stride 2, then 3x3 maximum pooling of stride 2.
    Imagenet,
    /// 3x3 convolution of stride 1.
    Cifar,
}

/// The shortcut of a block that changes channels or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// Subsampling and zero channels, no parameters (He et al. 2016, option A).
    OptionA,
    /// 1x1 convolution and norm (option B).
    Projection,
}

/// The normalisation of a whole network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NormChoice {
    /// Batch norm with one or more domains.
    Batch {
        /// Number of domains.
        domains: usize,
        /// Whether domains share statistics.
        statistics: Sharing,
        /// Whether domains share gamma and beta.
        affine: Sharing,
        /// Which variance is stored.
        running_variance: RunningVariance,
    },
    /// Group norm; the groups must divide the channels of every layer.
    Group {
        /// Number of groups; 32 is the usual one.
        groups: usize,
    },
    /// Instance norm.
    Instance,
    /// No norm: convolutions have a bias and residual branches a learnt gain that starts at 0.
    None,
}

impl NormChoice {
    /// Ordinary batch norm.
    pub const BATCH: Self = Self::Batch {
        domains: 1,
        statistics: Sharing::Shared,
        affine: Sharing::Shared,
        running_variance: RunningVariance::Unbiased,
    };

    /// Mixture batch norm: clean and adversarial images have statistics and affine parameters of their own.
    ///
    /// Source: Xie & Yuille 2020, Fig. 4.
    pub const MIXTURE: Self = Self::Batch {
        domains: 2,
        statistics: Sharing::Separate,
        affine: Sharing::Separate,
        running_variance: RunningVariance::Unbiased,
    };

    /// Number of domains a graph of this norm tells apart.
    pub fn domains(&self) -> usize {
        match self {
            Self::Batch { domains, .. } => *domains,
            _ => 1,
        }
    }
}

/// What the network does to pixels in `[0, 1]` before its first layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum InputScaling {
    /// Nothing.
    None,
    /// To `[-1, 1]`, as in the paper.
    Symmetric,
    /// `(x - mean) / std` per channel.
    MeanStd {
        /// Mean per channel.
        mean: Vec<f32>,
        /// Standard deviation per channel.
        std: Vec<f32>,
    },
}

/// Factor and summand of every channel.
type PerChannel = (Vec<f32>, Vec<f32>);

impl InputScaling {
    /// The usual mean and deviation of ImageNet; also those of the akamaster CIFAR networks.
    pub fn imagenet() -> Self {
        Self::MeanStd { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// The usual mean and deviation of CIFAR-10. Older scripts divide by .2023 .1994 .2010: both circulate.
    pub fn cifar10() -> Self {
        Self::MeanStd { mean: vec![0.4914, 0.4822, 0.4465], std: vec![0.2471, 0.2435, 0.2616] }
    }

    /// Factor and summand per channel, or `None` if pixels stay as they are.
    pub(crate) fn affine(
        &self,
        channels: usize,
        architecture: &str,
    ) -> Result<Option<PerChannel>, NetworkError> {
        match self {
            Self::None => Ok(None),
            Self::Symmetric => Ok(Some((vec![2.0; channels], vec![-1.0; channels]))),
            Self::MeanStd { mean, std } => {
                let usable = |value: &f32| value.is_finite() && *value > 0.0;
                let fits = mean.len() == channels && std.len() == channels;
                if !fits || !std.iter().all(usable) || !mean.iter().all(|m| m.is_finite()) {
                    return Err(NetworkError::Setting {
                        architecture: architecture.into(),
                        setting: "scaling",
                        found: format!("mean {mean:?}, std {std:?}"),
                        expected: format!("{channels} means and {channels} positive deviations"),
                        hint: "one number per channel of the input, in pixels of [0, 1]".into(),
                    });
                }
                let scale = std.iter().map(|std| (1.0 / f64::from(*std)) as f32).collect();
                let shift = mean.iter().zip(std);
                let shift = shift.map(|(m, s)| (-f64::from(*m) / f64::from(*s)) as f32).collect();
                Ok(Some((scale, shift)))
            }
        }
    }
}

impl std::str::FromStr for InputScaling {
    type Err = NetworkError;

    /// Reads `none`, `symmetric`, `imagenet` or `cifar10`.
    fn from_str(name: &str) -> Result<Self, NetworkError> {
        match name {
            "none" => Ok(Self::None),
            "symmetric" => Ok(Self::Symmetric),
            "imagenet" => Ok(Self::imagenet()),
            "cifar10" => Ok(Self::cifar10()),
            _ => Err(NetworkError::Setting {
                architecture: "any".into(),
                setting: "scaling",
                found: name.into(),
                expected: "none, symmetric, imagenet or cifar10".into(),
                hint: "symmetric maps [0, 1] to [-1, 1]; the others subtract a mean".into(),
            }),
        }
    }
}

const CIFAR: Shape = Shape::new(3, 32, 32);
const IMAGENET: Shape = Shape::new(3, 224, 224);

impl Architecture {
    /// Reads a name: `resnet50`, `resnet18-cifar` (ImageNet's depths with a 3x3 stem), `resnet20-cifar` (6n+2),
    /// `wrn-28-10`; `-wN` at the end sets the channels of the first stage, as in `resnet8-cifar-w32`.
    ///
    /// Batch norm, ReLU, pixels scaled to `[-1, 1]`; 10 classes at 32 pixels, ImageNet's depths without `-cifar` 1,000
    /// at 224. Errors: [`NetworkError::UnknownArchitecture`], with the names there are.
    pub fn named(name: &str) -> Result<Self, NetworkError> {
        Self::parse(name).ok_or_else(|| NetworkError::UnknownArchitecture {
            name: name.into(),
            hint: format!("one of {}", Self::names()),
        })
    }

    /// The names there are, for messages.
    pub fn names() -> String {
        let depths = resnet::DEPTHS.map(|depth| depth.to_string()).join("|");
        format!(
            "resnet{depths}, the same with -cifar for a 3x3 stem, resnet8|14|20|32|44|56|110-cifar or another 6n+2 (the suffix may be left out), \
             wrn-D-K with D = 6n+4 such as wrn-28-10; -wN at the end sets the channels of the first stage"
        )
    }

    fn parse(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix("wrn-") {
            let (depth, factor) = rest.split_once('-')?;
            let (depth, factor) = (number(depth)?, number(factor)?);
            let known = depth >= 10 && depth % 6 == 4;
            let width = factor.checked_mul(wide_resnet::STEM)?;
            return known.then(|| Self::base(Family::WideResnet, depth, width));
        }
        let rest = name.strip_prefix("resnet")?;
        let (rest, width) = match rest.split_once("-w") {
            Some((rest, width)) => (rest, Some(number(width)?)),
            None => (rest, None),
        };
        let (depth, stem) = match rest.strip_suffix("-cifar") {
            Some(depth) => (number(depth)?, Stem::Cifar),
            None => (number(rest)?, Stem::Imagenet),
        };
        if resnet::DEPTHS.contains(&depth) {
            let width = width.unwrap_or(resnet::WIDTH);
            let mut architecture = Self { stem, ..Self::base(Family::Resnet, depth, width) };
            if stem == Stem::Imagenet {
                architecture.input = IMAGENET;
                architecture.classes = 1000;
            }
            return Some(architecture);
        }
        // Many call a CIFAR ResNet plainly `resnet20`; no network for ImageNet has a depth of 6n+2 here.
        let known = depth >= 8 && depth % 6 == 2;
        let width = width.unwrap_or(cifar_resnet::WIDTH);
        known.then(|| Self::base(Family::CifarResnet, depth, width))
    }

    fn base(family: Family, depth: usize, width: usize) -> Self {
        let shortcut = match family {
            Family::CifarResnet => Shortcut::OptionA,
            _ => Shortcut::Projection,
        };
        Self {
            family,
            depth,
            width,
            stem: Stem::Cifar,
            shortcut,
            norm: NormChoice::BATCH,
            activation: Activation::Relu,
            scaling: InputScaling::Symmetric,
            input: CIFAR,
            classes: 10,
        }
    }

    /// The name that [`Architecture::named`] reads; norm, activation and the like are not part of it.
    pub fn name(&self) -> String {
        let suffix = |usual: usize| match self.width {
            width if width == usual => String::new(),
            width => format!("-w{width}"),
        };
        match self.family {
            Family::Resnet => {
                let stem = if self.stem == Stem::Cifar { "-cifar" } else { "" };
                format!("resnet{}{stem}{}", self.depth, suffix(resnet::WIDTH))
            }
            Family::CifarResnet => {
                format!("resnet{}-cifar{}", self.depth, suffix(cifar_resnet::WIDTH))
            }
            Family::WideResnet => format!("wrn-{}-{}", self.depth, self.width / wide_resnet::STEM),
        }
    }

    /// The graph.
    ///
    /// Errors: [`NetworkError::Setting`] for a value the family cannot build, [`NetworkError::Shape`] for images that
    /// are too small.
    pub fn graph(&self) -> Result<Graph, NetworkError> {
        self.require(self.width > 0, "width", self.width, "at least 1", "channels of stage one")?;
        self.require(
            self.norm.domains() > 0,
            "domains",
            0,
            "at least 1",
            "2 is mixture batch norm",
        )?;
        match self.family {
            Family::Resnet => resnet::build(self),
            Family::CifarResnet => cifar_resnet::build(self),
            Family::WideResnet => wide_resnet::build(self),
        }
    }

    /// An error about a setting unless `holds`.
    pub(crate) fn require(
        &self,
        holds: bool,
        setting: &'static str,
        found: impl std::fmt::Debug,
        expected: &str,
        hint: &str,
    ) -> Result<(), NetworkError> {
        if holds {
            return Ok(());
        }
        Err(NetworkError::Setting {
            architecture: self.name(),
            setting,
            found: format!("{found:?}"),
            expected: expected.into(),
            hint: hint.into(),
        })
    }
}

/// A positive number without sign or leading zero.
fn number(text: &str) -> Option<usize> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_printed_back() {
        for name in [
            "resnet8-cifar",
            "resnet20-cifar-w32",
            "resnet110-cifar",
            "resnet18-cifar",
            "resnet50",
            "resnet638",
            "resnet638-cifar",
            "resnet50-w32",
            "wrn-28-10",
            "wrn-10-1",
        ] {
            assert_eq!(Architecture::named(name).unwrap().name(), name);
        }
        assert_eq!(Architecture::named("resnet18-cifar").unwrap().family, Family::Resnet);
        assert_eq!(Architecture::named("resnet56-cifar").unwrap().family, Family::CifarResnet);
    }

    #[test]
    fn an_unknown_name_lists_the_valid_ones() {
        for name in ["resnet51", "resnet19-cifar", "wrn-28", "wrn-27-1", "vgg", "resnet020-cifar"] {
            let message = Architecture::named(name).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("338|638"), "{message}");
        }
    }

    #[test]
    fn a_cifar_resnet_may_be_called_without_its_suffix() {
        let plain = Architecture::named("resnet20").unwrap();
        assert_eq!(plain, Architecture::named("resnet20-cifar").unwrap());
        assert_eq!(Architecture::named("resnet50").unwrap().family, Family::Resnet);
    }

    #[test]
    fn every_norm_builds_in_every_family() {
        for name in ["resnet8-cifar", "resnet18-cifar", "resnet50", "wrn-10-2"] {
            for norm in [
                NormChoice::BATCH,
                NormChoice::MIXTURE,
                NormChoice::Group { groups: 8 },
                NormChoice::Instance,
                NormChoice::None,
            ] {
                let mut architecture = Architecture::named(name).unwrap();
                architecture.norm = norm;
                let graph = architecture.graph().unwrap();
                assert_eq!(graph.domains, norm.domains());
            }
        }
    }

    #[test]
    fn groups_that_do_not_divide_are_refused_with_a_number_that_fits() {
        let mut architecture = Architecture::named("resnet20-cifar").unwrap();
        architecture.norm = NormChoice::Group { groups: 32 };
        let message = architecture.graph().unwrap_err().to_string();
        assert!(message.contains("groups is 32") && message.contains("16 groups fit"), "{message}");
    }

    #[test]
    fn grey_images_of_28_pixels_fit_the_narrow_network() {
        let mut architecture = Architecture::named("resnet8-cifar").unwrap();
        architecture.input = Shape::new(1, 28, 28);
        let graph = architecture.graph().unwrap();
        assert_eq!(graph.shapes().unwrap().last(), Some(&Shape::new(10, 1, 1)));
        architecture.scaling = InputScaling::cifar10();
        assert!(architecture.graph().unwrap_err().to_string().contains("1 means"));
    }
}
