//! Weights of namespaces. A weight of 1 is what every namespace has, and is not remembered.

use weir_proto::{event::Happened, id::Namespace, weight::Weight};

use super::{Effect, Rejection};
use crate::state::{ClusterState, MAX_WEIGHTS};

pub(super) fn set(
    state: &mut ClusterState,
    namespace: Namespace,
    weight: Weight,
) -> Result<Vec<Effect>, Rejection> {
    if state.weight(&namespace) == weight {
        return Ok(Vec::new());
    }
    if weight == Weight::default() {
        state.weights.remove(&namespace);
    } else {
        if !state.weights.contains_key(&namespace) && state.weights.len() >= MAX_WEIGHTS {
            return Err(Rejection::TooManyWeights);
        }
        state.weights.insert(namespace.clone(), weight);
    }
    state.record(Happened::WeightChanged { namespace: namespace.clone(), weight });
    Ok(vec![Effect::WeightChanged(namespace)])
}
