//! Names: pointed at something, or removed, if they are as expected.

use weir_proto::{
    event::Happened,
    name::{Expected, SetName},
};

use super::{Effect, Rejection};
use crate::state::{ClusterState, MAX_NAMES, NameRecord};

pub(super) fn set(state: &mut ClusterState, set: SetName) -> Result<Vec<Effect>, Rejection> {
    let SetName { namespace, name, target, expected } = set;
    let key = (namespace, name);
    let points_at = state.names.get(&key).map(|record| record.target);
    let as_expected = match expected {
        Expected::Anything => true,
        Expected::Absent => points_at.is_none(),
        Expected::PointsAt(source) => points_at == Some(source),
    };
    // Asked twice, because the first answer was lost: it is as it should be.
    if target.is_some() && points_at == target {
        return Ok(Vec::new());
    }
    if !as_expected {
        return Err(Rejection::NameConflict { name: key.1, points_at });
    }
    match target {
        Some(target) => {
            if points_at.is_none() && state.names.len() >= MAX_NAMES {
                return Err(Rejection::TooManyNames);
            }
            let record = NameRecord { target, set_ms: state.now_ms };
            state.names.insert(key.clone(), record);
        }
        None => {
            if state.names.remove(&key).is_none() {
                return Err(Rejection::UnknownName { namespace: key.0, name: key.1 });
            }
        }
    }
    state.record(Happened::NameChanged { namespace: key.0, name: key.1, target });
    Ok(Vec::new())
}
