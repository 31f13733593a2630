//! Sizes of a network: layers, parameters, multiplications.

use crate::{Graph, NetworkError, Op, Shape};

/// What a graph costs for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Convolutions and linear maps on the longest path: the number in a network's name. A wide ResNet's name also
    /// counts its two or three shortcut convolutions.
    pub layers: usize,
    /// Learnt values; running statistics are not counted.
    pub parameters: usize,
    /// Running means and variances.
    pub statistics: usize,
    /// Multiply-accumulates of convolutions and linear maps in one forward of one image.
    pub macs: u64,
    /// Per node, in graph order.
    pub nodes: Vec<NodeCount>,
}

/// What one node costs for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeCount {
    /// Shape of its value.
    pub shape: Shape,
    /// Multiply-accumulates; 0 for all but convolutions and linear maps.
    pub macs: u64,
}

impl Count {
    /// Floating-point operations of one forward of one image: two per multiply-accumulate.
    ///
    /// A gradient by the input costs about as much again, a training pass three times as much in all.
    pub fn flops(&self) -> u64 {
        2 * self.macs
    }
}

impl Graph {
    /// Layers, parameters and multiplications, all from the graph alone.
    ///
    /// Errors: those of [`Graph::validate`].
    pub fn count(&self) -> Result<Count, NetworkError> {
        let shapes = self.validate()?;
        let mut depths = Vec::with_capacity(shapes.len());
        let mut nodes = Vec::with_capacity(shapes.len());
        for (node, &shape) in self.nodes.iter().zip(&shapes) {
            let per_value = match &node.op {
                Op::Convolution(c) => c.in_channels * c.kernel * c.kernel,
                Op::Linear { inputs, .. } => *inputs,
                _ => 0,
            };
            let before = node.inputs.iter().map(|id| depths[id.0]).max().unwrap_or(0);
            depths.push(before + usize::from(per_value > 0));
            nodes.push(NodeCount { shape, macs: (per_value * shape.len()) as u64 });
        }
        let layout = self.layout();
        let size = |learnt: bool| {
            let chosen = layout.parameters.iter().filter(|spec| spec.role.is_learnt() == learnt);
            chosen.map(|spec| spec.len()).sum()
        };
        Ok(Count {
            layers: depths.last().copied().unwrap_or(0),
            parameters: size(true),
            statistics: size(false),
            macs: nodes.iter().map(|node| node.macs).sum(),
            nodes,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::architecture::{Architecture, NormChoice};
    use crate::resnet::stages;

    mod g26_depth {
        use super::*;

        #[test]
        fn parameters_for_a_thousand_classes_are_the_published_ones() {
            for (name, parameters) in [
                ("resnet18", 11_689_512),
                ("resnet34", 21_797_672),
                ("resnet50", 25_557_032),
                ("resnet101", 44_549_160),
                ("resnet152", 60_192_808),
            ] {
                let count = Architecture::named(name).unwrap().graph().unwrap().count().unwrap();
                assert_eq!(count.parameters, parameters, "{name}");
            }
        }

        #[test]
        fn bottleneck_depth_is_three_times_the_blocks_plus_two() {
            for depth in [50, 101, 152, 200, 338, 638] {
                let (_, blocks) = stages(depth).unwrap();
                assert_eq!(depth, 3 * blocks.iter().sum::<usize>() + 2);
                let name = format!("resnet{depth}");
                let count = Architecture::named(&name).unwrap().graph().unwrap().count().unwrap();
                assert_eq!(count.layers, depth);
            }
            assert_eq!(stages(338).unwrap().1, [3, 36, 70, 3]);
            assert_eq!(stages(638).unwrap().1, [3, 66, 140, 3]);
        }

        #[test]
        fn multiplications_at_224_pixels_are_those_of_the_papers_table() {
            for (name, giga, millions) in [
                ("resnet50", 4.1, 25.6),
                ("resnet152", 11.5, 60.2),
                ("resnet200", 15.0, 64.7),
                ("resnet338", 25.1, 106.0),
                ("resnet638", 46.9, 192.6),
            ] {
                let count = Architecture::named(name).unwrap().graph().unwrap().count().unwrap();
                assert!((count.macs as f64 / 1e9 - giga).abs() < 0.06, "{name}: {}", count.macs);
                let found = count.parameters as f64 / 1e6;
                assert!((found - millions).abs() < 0.06, "{name}: {found}");
            }
        }
    }

    #[test]
    fn cifar_networks_have_the_depth_of_their_name_and_known_sizes() {
        for (name, layers, parameters) in [
            ("resnet20-cifar", 20, 269_722),
            ("resnet110-cifar", 110, 1_727_962),
            ("resnet18-cifar", 18, 11_173_962),
            ("wrn-28-10", 26, 36_479_194),
        ] {
            let count = Architecture::named(name).unwrap().graph().unwrap().count().unwrap();
            assert_eq!((count.layers, count.parameters), (layers, parameters), "{name}");
        }
    }

    #[test]
    fn the_second_domain_of_resnet152_has_75712_channels() {
        let mut architecture = Architecture::named("resnet152").unwrap();
        let single = architecture.graph().unwrap().count().unwrap();
        architecture.norm = NormChoice::MIXTURE;
        let mixture = architecture.graph().unwrap().count().unwrap();
        assert_eq!(mixture.parameters - single.parameters, 2 * 75_712);
        assert_eq!(mixture.statistics, 2 * single.statistics);
    }
}
