//! 07 and 13: graphs, their parameters, sets of clients on them.

use scale_secagg::graph::{Graph, Members, graph_seed, permutation};
use scale_secagg::keys;
use scale_secagg::params::{
    COMPLETE_UP_TO, Class, FLOOR, GraphKind, N_MAX, Profile, check_threshold, parameters, window_limit,
};
use scale_secagg::roster::Sid;
use serde::Deserialize;

use crate::support::{Hex32, HexBytes, Refused, bytes_of, list, load, parse};

#[derive(Deserialize)]
struct GraphCase {
    name: String,
    n: u32,
    sid: Hex32,
    gseed: Hex32,
    k: u32,
    t: u32,
    permutation_sha256: Hex32,
    permutation: Option<Vec<u32>>,
    neighbours: Vec<Neighbours>,
    all_neighbours_sha256: Hex32,
}

#[derive(Deserialize)]
struct Neighbours {
    i: u32,
    n_i: Vec<u32>,
}

#[derive(Deserialize)]
struct Threshold {
    name: Option<String>,
    n: u32,
    profile: u8,
    class: u8,
    k: u32,
    t: u32,
    graph: Option<String>,
    refused: Option<Refused>,
}

#[derive(Deserialize)]
struct WindowLimit {
    n: u32,
    class: u8,
    limit: u32,
}

#[derive(Deserialize)]
struct SetCase {
    name: String,
    sharers: Option<HexBytes>,
    u2: Option<HexBytes>,
    u3: Option<HexBytes>,
    worst: Option<u32>,
    limit: Option<u32>,
    passes: Option<bool>,
    connected: Option<bool>,
}

#[derive(Deserialize)]
struct ParamClass {
    class: u8,
    gamma_percent: u32,
    delta_percent: u32,
    k_t: Vec<(u32, u32, u32)>,
    window_limit: Vec<(u32, u32)>,
}

known_answers! {
    fn neighbours_and_ranks() {
        for case in list::<GraphCase>(&load("07_graph"), "cases") {
            let (name, sid) = (&case.name, Sid::from(case.sid.0));
            assert_eq!(graph_seed(&sid), case.gseed.0, "{name}");
            let ring = permutation(case.n, &case.gseed.0);
            assert_eq!(keys::hash(&[&bytes_of(&ring)]), case.permutation_sha256.0, "{name}");
            assert!(case.permutation.is_none_or(|expected| expected == ring), "{name}");
            let right = parameters(case.n, Profile::Standard, Class::Default).expect(name);
            assert_eq!((right.k, right.t, right.graph), (case.k, case.t, GraphKind::Sparse), "{name}");
            let graph = Graph::harary(case.n, case.k, &sid);
            assert_eq!(graph.ring(), Some(ring.as_slice()), "{name}");
            for Neighbours { i, n_i } in &case.neighbours {
                assert_eq!(graph.neighbours(*i), *n_i, "{name}: neighbours of {i}");
                for (rank, j) in (0..).zip(n_i) {
                    assert_eq!(graph.rank(*i, *j), Some(rank), "{name}: rank of {j} with {i}");
                }
                assert_eq!(graph.rank(*i, *i), None, "{name}");
            }
            let all: Vec<u32> = (0..case.n).flat_map(|i| graph.neighbours(i)).collect();
            assert_eq!(keys::hash(&[&bytes_of(&all)]), case.all_neighbours_sha256.0, "{name}");
        }
    }

    fn thresholds_and_window_limits() {
        let file = load("07_graph");
        let profile_of = |case: &Threshold| Profile::try_from(case.profile).expect("a profile");
        let class_of = |class| Class::try_from(class).expect("a class");
        for case in list::<Threshold>(&file, "thresholds") {
            let (profile, class) = (profile_of(&case), class_of(case.class));
            let right = parameters(case.n, profile, class).expect("a session of this size");
            let graph = match right.graph {
                GraphKind::Complete => "complete",
                GraphKind::Sparse => "sparse",
            };
            assert_eq!((right.k, right.t, Some(graph)), (case.k, case.t, case.graph.as_deref()), "n = {}", case.n);
            assert_eq!(check_threshold(case.n, case.k, case.t, profile, class), Ok(()), "n = {}", case.n);
        }
        for case in list::<WindowLimit>(&file, "window_limits") {
            assert_eq!(window_limit(case.n, class_of(case.class)), case.limit, "n = {}", case.n);
        }
        for case in list::<Threshold>(&file, "bad_thresholds") {
            let result = check_threshold(case.n, case.k, case.t, profile_of(&case), class_of(case.class));
            case.refused.expect("bad").assert_is(result, case.name.as_deref().expect("named"));
        }
    }

    fn sets_on_one_graph() {
        let file = load("07_graph");
        let one = &file["on_one_graph"];
        let number = |key: &str| one[key].as_u64().expect(key) as u32;
        let (n, k, t) = (number("n"), number("k"), number("t"));
        let graph = Graph::harary(n, k, &Sid::from(parse::<Hex32>(&one["sid"], "sid").0));
        let set = |bytes: &Option<HexBytes>| Members::decode(n, &bytes.as_ref().expect("a set").0).expect("canonical");
        for case in list::<SetCase>(one, "prune") {
            let (sharers, u2) = (set(&case.sharers), set(&case.u2));
            assert_eq!(graph.prune(t, &sharers), u2, "{}", case.name);
            assert!(u2.is_subset(&sharers) && (u2.len() == sharers.len()) == sharers.is_subset(&u2), "{}", case.name);
        }
        for case in list::<SetCase>(one, "window") {
            let worst = graph.worst_window(&set(&case.u3));
            assert_eq!(Some(worst), case.worst, "{}", case.name);
            let limit = window_limit(n, Class::Default);
            assert_eq!((Some(limit), Some(worst <= limit)), (case.limit, case.passes), "{}", case.name);
        }
        for case in list::<SetCase>(one, "connected") {
            assert_eq!(Some(graph.connected(&set(&case.u3))), case.connected, "{}", case.name);
        }
    }

    /// The compiled table equals the vectors' for every size of session there is; the generator of the vectors verifies
    /// each of them in exact integers.
    fn the_compiled_table() {
        let file = load("13_params");
        let bounds = ["complete_up_to", "n_max"].map(|key| file[key].as_u64().expect(key) as u32);
        assert_eq!(bounds, [COMPLETE_UP_TO, N_MAX]);
        for case in list::<ParamClass>(&file, "classes") {
            let class = Class::try_from(case.class).expect("a class");
            let (mut k_t, mut limits) = (case.k_t.iter().peekable(), case.window_limit.iter().peekable());
            let (mut right, mut limit) = ((0, 0), 0);
            for n in COMPLETE_UP_TO + 1..=N_MAX {
                if let Some((_, k, t)) = k_t.next_if(|(first, ..)| *first == n) {
                    right = (*k, *t);
                }
                if let Some((_, window)) = limits.next_if(|(first, _)| *first == n) {
                    limit = *window;
                }
                let ours = parameters(n, Profile::Standard, class).expect("a session of this size");
                assert_eq!((ours.k, ours.t), right, "n = {n}");
                assert_eq!((ours.window, window_limit(n, class)), (limit, limit), "n = {n}");
                assert!(ours.t > ours.k / 2 && ours.t <= ours.k && ours.k < n && ours.k.is_multiple_of(2), "n = {n}");
            }
            assert!(k_t.next().is_none() && limits.next().is_none(), "runs out of order");
            // Complete graphs, by the formula of docs/protocol/graph.md: 2 t > k + c, and room for the dropouts.
            for n in FLOOR..=COMPLETE_UP_TO {
                let corrupt = (n * case.gamma_percent).div_ceil(100);
                let t = (n - 1 + corrupt) / 2 + 1;
                assert!(t <= n - 1 - (n * case.delta_percent).div_ceil(100), "n = {n}");
                for profile in [Profile::Standard, Profile::Malicious] {
                    let ours = parameters(n, profile, class).expect("a session of this size");
                    assert_eq!((ours.k, ours.t, ours.graph), (n - 1, t, GraphKind::Complete), "n = {n}");
                }
                assert_eq!(window_limit(n, class), n, "a complete graph has no ring");
            }
        }
    }
}
