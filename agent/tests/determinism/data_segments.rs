//! What Wasmtime bills for a module's data segments where they do not become images.

use wasmparser::{DataKind, Operator, Parser, Payload};

/// Fuel for all active segments; nothing is known of components, which hold several modules.
///
/// A segment is billed as the `memory.init` of all its bytes, with what computes its offset, in a
/// function that is entered once.
pub(crate) fn fuel(module: &[u8]) -> Option<u64> {
    let (mut fuel, mut active) = (0, false);
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::ComponentSection { .. } | Payload::ModuleSection { .. } => return None,
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment.ok()?;
                    let DataKind::Active { offset_expr, .. } = segment.kind else { continue };
                    let operators = offset_expr.get_operators_reader().into_iter();
                    let computed =
                        operators.filter(|operator| !matches!(operator, Ok(Operator::End))).count();
                    fuel += segment.data.len() as u64 + computed as u64;
                    active = true;
                }
            }
            _ => {}
        }
    }
    Some(fuel + u64::from(active))
}
