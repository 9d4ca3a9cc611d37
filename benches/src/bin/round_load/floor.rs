//! The fewest bytes that the protocol's messages have: what goes up and comes down, without any wrapping
//! (docs/protocol/session.md).

use scale_secagg::config::RoundConfig;
use scale_secagg::params::{GraphKind, parameters};

/// Bytes up and down of one stage, over all devices.
pub(crate) type Floor = [u64; 2];

/// Of the five stages, for sessions of these sizes. `None`: no such session exists.
///
/// | stage | up | down |
/// | --- | --- | --- |
/// | keys | 192 | complete roster: 160 n; sparse: 450 k |
/// | shares | 80 k + 32 | 80 k + n/8 |
/// | masked input | the packed vectors | n/8 |
/// | agreement | 64 | 68 t |
/// | unmask | 32 k | |
pub(crate) fn of_stages(config: &RoundConfig, sizes: &[u32]) -> Option<[Floor; 5]> {
    let mut floors = [[0; 2]; 5];
    for &size in sizes {
        let parameters = parameters(size, config.profile, config.class).ok()?;
        let (n, k, t) = (u64::from(size), u64::from(parameters.k), u64::from(parameters.t));
        let roster = match parameters.graph {
            GraphKind::Complete => 160 * n,
            GraphKind::Sparse => 450 * k,
        };
        let set = n.div_ceil(8);
        let each =
            [[192, roster], [80 * k + 32, 80 * k + set], [config.masked_input_len(), set], [64, 68 * t], [32 * k, 0]];
        for (floor, [up, down]) in floors.iter_mut().zip(each) {
            floor[0] += n * up;
            floor[1] += n * down;
        }
    }
    Some(floors)
}
