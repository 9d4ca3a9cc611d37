//! Whether integers are the noise that somebody promised: for tests, and for auditors who know what was added up.
//!
//! Distances are in standard deviations of what the same test says of true noise, so one beyond 4 either way is no
//! accident. Many thousands of samples are needed to see anything.

/// How far the spread of `noise` lies from a Gaussian of variance `variance` around 0: above 0 for more of it. Sees a
/// variance that is off by the share p from about 32 / p² samples on.
///
/// Chi-square: sum of x² / V, whose mean is the number of samples N and whose variance is 2 N.
pub fn variance(noise: &[i64], variance: f64) -> f64 {
    let count = noise.len() as f64;
    let statistic: f64 = noise.iter().map(|&x| (x as f64).powi(2) / variance).sum();
    (statistic - count) / (2.0 * count).sqrt()
}

/// How far the shape of `noise` lies from a discrete Gaussian of standard deviation `sigma` around 0.
///
/// Chi-square over bins; tails and neighbours are merged until a bin expects max(50, N / 400) of the N samples. NaN for so
/// few samples that they make no two bins.
pub fn shape(noise: &[i64], sigma: f64) -> f64 {
    let reach = (sigma * 12.0).ceil() as i64 + 3;
    let weight = |x: i64| (-(x as f64).powi(2) / (2.0 * sigma * sigma)).exp();
    let total: f64 = (-reach..=reach).map(weight).sum();
    let mut counts = vec![0u32; (2 * reach + 1) as usize];
    for &sample in noise {
        // What lies further out than any true noise makes the last bin too full.
        counts[(sample.clamp(-reach, reach) + reach) as usize] += 1;
    }
    let n = noise.len() as f64;
    let least = (n / 400.0).max(50.0);
    // Expected and seen.
    let mut bins = vec![];
    let mut filling = (0.0, 0.0);
    for x in -reach..=reach {
        filling.0 += n * weight(x) / total;
        filling.1 += f64::from(counts[(x + reach) as usize]);
        if filling.0 >= least {
            bins.push(std::mem::take(&mut filling));
        }
    }
    // What is left of the upper tail joins the bin before it.
    if let Some(last) = bins.last_mut() {
        (last.0, last.1) = (last.0 + filling.0, last.1 + filling.1);
    }
    let statistic: f64 = bins.iter().map(|(expected, seen)| (seen - expected).powi(2) / expected).sum();
    let freedom = bins.len() as f64 - 1.0;
    (statistic - freedom) / (2.0 * freedom).sqrt()
}
