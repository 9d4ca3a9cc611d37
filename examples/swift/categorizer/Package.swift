// swift-tools-version:6.0

import PackageDescription

// What `cargo xtask bindings --swift` makes.
let library = Context.environment["SCALE_SWIFT_PACKAGE"] ?? "../../../target/bindings/swift"

let package = Package(
    name: "scale-categorizer",
    platforms: [.macOS(.v13)],
    dependencies: [.package(name: "ScaleFL", path: library)],
    targets: [
        .executableTarget(
            name: "scale-categorizer", dependencies: [.product(name: "ScaleFL", package: "ScaleFL")])
    ]
)
