//! A small hostile message never makes a decoder reserve a lot of memory. Alone in its binary, because it reads the
//! peak of the whole process.
#![cfg(target_os = "linux")]
#![allow(unreachable_pub, missing_docs)]

mod bodies;

use scale_proto::limits::MESSAGE_BYTES;

/// Peak of the address space so far, in bytes: counts what was reserved, even if it was never touched.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
}

/// A length-delimited field that claims `len` bytes and brings `body`.
fn claim(field: u8, len: u64, body: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    let mut rest = len;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(body);
    out
}

fn nested(field: u8, inner: &[u8]) -> Vec<u8> {
    claim(field, inner.len() as u64, inner)
}

#[test]
fn hostile_messages_reserve_little() {
    let mut inputs: Vec<Vec<u8>> = Vec::new();
    // Lengths that the message does not bring, in every field that has one.
    for len in [1 << 20, 1 << 31, 1 << 40, u64::MAX >> 1, u64::MAX] {
        for field in 1..=15 {
            inputs.push(claim(field, len, b"x"));
            inputs.push(nested(1, &claim(field, len, b"x")));
            inputs.push(nested(field, &nested(2, &claim(2, len, b"x"))));
        }
    }
    // Sizes of models that would fill the memory of the largest machine.
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let sizes = |fields: &[u8]| fields.iter().flat_map(|field| [&[field << 3], huge.as_slice()].concat()).collect();
    let bag: Vec<u8> = sizes(&[1, 2]);
    let cnn: Vec<u8> = sizes(&[1, 2, 3, 4, 5, 6]);
    let mlp = [sizes(&[1]), nested(2, &huge.repeat(1000))].concat();
    for family in [nested(2, &bag), nested(3, &mlp), nested(4, &cnn)] {
        let spec = [nested(1, b"label"), family].concat();
        inputs.extend([spec.clone(), nested(1, &spec), nested(6, &spec)]);
    }
    // Counts in the aggregation protocol: 2^32 - 1 participants, entries and hashes.
    inputs.extend([vec![0xff; 44], vec![0xff; 300], [vec![0xff; 4], vec![0; 36], vec![0xff; 4]].concat()]);
    run(&inputs, 32 << 20);

    // As many elements as the largest message holds: empty labels, empty tasks, one-byte widths.
    let many = [[0x0a, 0].repeat(MESSAGE_BYTES / 2), nested(3, &nested(2, &vec![1; MESSAGE_BYTES - 16]))];
    run(&many, 40 * MESSAGE_BYTES as u64);

    // The yardstick itself sees memory that is reserved and never touched.
    let before = peak();
    let reserved = std::hint::black_box(Vec::<u8>::with_capacity(1 << 30));
    assert!(peak() >= before + (512 << 20), "{} bytes reserved, but the peak does not show them", reserved.capacity());
}

fn run(inputs: &[Vec<u8>], most: u64) {
    bodies::ALL.iter().for_each(|(_, body)| body(b"warm"));
    let before = peak();
    for input in inputs {
        assert!(input.len() <= MESSAGE_BYTES);
        for (name, body) in bodies::ALL {
            body(input);
            let grown = peak() - before;
            assert!(grown <= most, "{name}: {grown} bytes for a message of {}", input.len());
        }
    }
}
