//! Which combinations of masked inputs cancel every unknown mask: exact linear algebra over a prime field.
//!
//! A mask that nobody can compute is a uniform unknown. What a combination of masked inputs says about the inputs is
//! therefore everything if all unknowns cancel in it, and nothing otherwise; so the kernel found here is the whole of
//! what the liar can compute, whichever way it adds and subtracts.

/// Prime, large enough that no small integer combination vanishes by accident.
const P: u64 = (1 << 31) - 1;

/// A basis of the combinations of `columns` masked inputs in which every row vanishes, with coefficients near zero.
///
/// `rows`: per unknown mask, in which masked input it stands, and with which sign.
pub fn kernel<'a>(columns: usize, rows: impl IntoIterator<Item = &'a [(usize, i64)]>) -> Vec<Vec<i64>> {
    // The reduced row echelon form: one row per pivot column.
    let mut echelon: Vec<Option<Vec<u64>>> = vec![None; columns];
    for row in rows {
        let mut dense = vec![0; columns];
        for (column, sign) in row {
            dense[*column] = (dense[*column] + sign.rem_euclid(P as i64) as u64) % P;
        }
        for (column, pivot) in echelon.iter().enumerate() {
            if let Some(pivot) = pivot
                && dense[column] != 0
            {
                let factor = P - dense[column];
                add(&mut dense, pivot, factor);
            }
        }
        let Some(lead) = dense.iter().position(|entry| *entry != 0) else { continue };
        let scale = inverse(dense[lead]);
        dense.iter_mut().for_each(|entry| *entry = *entry * scale % P);
        for pivot in echelon.iter_mut().flatten().filter(|pivot| pivot[lead] != 0) {
            let factor = P - pivot[lead];
            add(pivot, &dense, factor);
        }
        echelon[lead] = Some(dense);
    }
    let free = (0..columns).filter(|column| echelon[*column].is_none());
    let vector = |free: usize| {
        let entry = |column: usize| match &echelon[column] {
            Some(pivot) => near_zero((P - pivot[free]) % P),
            None => i64::from(column == free),
        };
        (0..columns).map(entry).collect()
    };
    free.map(vector).collect()
}

fn add(row: &mut [u64], other: &[u64], factor: u64) {
    for (entry, other) in row.iter_mut().zip(other) {
        *entry = (*entry + factor * other) % P;
    }
}

fn near_zero(residue: u64) -> i64 {
    if residue > P / 2 { residue as i64 - P as i64 } else { residue as i64 }
}

/// By Fermat.
fn inverse(value: u64) -> u64 {
    let (mut result, mut base, mut exponent) = (1, value, P - 2);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result * base % P;
        }
        base = base * base % P;
        exponent /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_of_a_graph_and_what_hangs_from_them() {
        // 0 - 1 - 2 in one piece, 3 - 4 in another, 5 with a mask that nobody shares.
        let edges: [&[(usize, i64)]; 5] =
            [&[(0, 1), (1, -1)], &[(1, 1), (2, -1)], &[(0, -1), (2, 1)], &[(3, 1), (4, -1)], &[(5, 1)]];
        let mut found = kernel(6, edges);
        found.sort_unstable();
        assert_eq!(found, [vec![0, 0, 0, 1, 1, 0], vec![1, 1, 1, 0, 0, 0]]);
        assert_eq!(kernel(2, []), [vec![1, 0], vec![0, 1]], "no masks at all");
    }

    #[test]
    fn one_mask_in_two_inputs_of_one_device() {
        // The same self mask twice: the difference is bare.
        assert_eq!(kernel(2, [&[(0, 1), (1, 1)][..]]), [vec![-1, 1]]);
    }
}
