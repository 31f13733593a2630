//! Named tensors in graph order.

use std::collections::HashMap;

/// Position of a parameter in [`Parameters`]; gradients and optimiser state use the same positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub usize);

/// What a parameter is for: decides weight decay, initial value and whether it is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Convolution or linear weight; the only role that decays (paper recipe).
    Weight,
    /// Convolution or linear offset.
    Bias,
    /// Normalisation factor, gamma.
    Scale,
    /// Normalisation offset, beta.
    Shift,
    /// The learnt number of a residual branch without normalisation.
    Gain,
    /// Running mean: absorbed, never learnt.
    RunningMean,
    /// Running variance: absorbed, never learnt.
    RunningVariance,
}

impl Role {
    /// Whether a gradient exists for it.
    pub fn is_learnt(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance)
    }

    /// Whether weight decay applies: "conv and FC weights only" (T52).
    pub fn decays(self) -> bool {
        self == Self::Weight
    }
}

/// One tensor, row-major, in PyTorch's layout (convolution `[out, in, row, column]`, linear `[out, in]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Key in files: node name, dot, kind.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// All parameters of a network, in graph order, found by name or position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    list: Vec<Parameter>,
    by_name: HashMap<String, ParameterId>,
}

impl Parameters {
    /// Adds a parameter; panics if the name exists, since graph builders give unique names.
    pub fn push(&mut self, parameter: Parameter) -> ParameterId {
        let id = ParameterId(self.list.len());
        let previous = self.by_name.insert(parameter.name.clone(), id);
        assert!(previous.is_none(), "parameter {} was added twice", parameter.name);
        self.list.push(parameter);
        id
    }

    /// The position of a name.
    pub fn id(&self, name: &str) -> Option<ParameterId> {
        self.by_name.get(name).copied()
    }

    /// The parameter of a name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.id(name).map(|id| &self.list[id.0])
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Parameter> {
        self.list.iter()
    }

    /// All parameters in order, values changeable.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Parameter> {
        self.list.iter_mut()
    }

    /// How many tensors there are, statistics included.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl std::ops::Index<ParameterId> for Parameters {
    type Output = Parameter;
    fn index(&self, id: ParameterId) -> &Parameter {
        &self.list[id.0]
    }
}

impl std::ops::IndexMut<ParameterId> for Parameters {
    fn index_mut(&mut self, id: ParameterId) -> &mut Parameter {
        &mut self.list[id.0]
    }
}
