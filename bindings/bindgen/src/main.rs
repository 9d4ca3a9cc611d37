//! Generates the Swift and the Kotlin side of `scale-bindings`: `cargo xtask bindings` runs it. It has to be of the same version
//! of uniffi as the library that it reads.

fn main() {
    uniffi::uniffi_bindgen_main();
}
