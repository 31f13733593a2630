//! Group G30: gradients handed out while a backward goes on are those of the whole backward, each once, last layers first.

mod support;

use engine::cpu::MemoryBudget;
use engine::{Engine, EngineError, Precision, Wants};
use network::{Activation, Architecture, Network, NormChoice, Shape};
use support::*;

const COUNT: usize = 11;

/// A bottleneck network with two domains, one with biased convolutions and no norms, one with group norms.
fn networks() -> [Network; 3] {
    let made = |name: &str, norm, activation| {
        let named = Architecture::named(name).expect("a known name");
        let input = Shape::new(3, 16, 16);
        let architecture = Architecture { norm, activation, classes: 3, input, ..named };
        randomized(architecture.graph().expect("a graph"), 1)
    };
    [
        made("resnet50-w8", NormChoice::MIXTURE, Activation::Relu),
        made("resnet20-cifar", NormChoice::None, Activation::Relu),
        made("resnet18-w8", NormChoice::Group { groups: 4 }, Activation::Silu),
    ]
}

#[test]
fn g30_gradients_handed_out_one_by_one_have_the_bits_of_the_whole_backward() {
    for (network, precision) in
        networks().iter().flat_map(|n| [Precision::F32, Precision::Bf16].map(|p| (n, p)))
    {
        let name = &network.graph.name;
        let pass = &passes(network.graph.domains, COUNT)[0];
        let pixels = images(network, COUNT, 2);
        let upstream = weights_of_logits(COUNT, 3);
        let all = engine(2).training_in(precision);
        let budget = |bytes| MemoryBudget { bytes, recordings: 1 };
        let plan = engine(2).within(budget(0)).training_in(precision);
        let least = match plan.memory_plan(network, COUNT, pass, Wants::ParametersAndInput) {
            Err(EngineError::Memory { least, .. }) => least,
            other => panic!("nothing fits into no memory, but found {other:?}"),
        };
        let lean = engine(2).within(budget(least)).training_in(precision);
        let (_, recording) = all.record(network, view(network, &pixels), pass).unwrap();
        let whole = all.backward(network, &recording, &upstream, Wants::Parameters).unwrap();
        for engine in [all, lean] {
            let (_, recording) = engine.record(network, view(network, &pixels), pass).unwrap();
            let mut order = Vec::new();
            let mut found = vec![Vec::new(); whole.parameters.len()];
            let mut take = |id: network::ParameterId, gradient: Vec<f32>| {
                assert!(found[id.0].is_empty(), "{name}: {id:?} came twice");
                order.push(id.0);
                found[id.0] = gradient;
            };
            engine.backward_by_parameter(network, &recording, &upstream, &mut take).unwrap();
            assert!(found == whole.parameters, "{name} {precision:?}");
            let learnt = |gradient: &&Vec<f32>| !gradient.is_empty();
            assert_eq!(order.len(), whole.parameters.iter().filter(learnt).count());
            // The classifier first, the first layer last: else nothing could travel behind the rest.
            let (first, last) = (order[0], order[order.len() - 1]);
            assert!(first + 2 >= whole.parameters.len() && last == 0, "{name}: {order:?}");
        }
    }
}
