// swift-tools-version:6.0

// The tests of the Swift package: an app of its own in the mode of Swift 6, against the library's testing build. They need
// what `cargo xtask bindings --swift --test` makes before it runs them.

import PackageDescription

let library = Context.environment["SCALE_SWIFT_PACKAGE"] ?? "../../../target/bindings/testing/swift"
let scaleFL = Target.Dependency.product(name: "ScaleFL", package: "ScaleFL")

let package = Package(
    name: "ScaleFLTests",
    platforms: [.macOS(.v13)],
    dependencies: [.package(name: "ScaleFL", path: library)],
    targets: [
        .target(name: "Scene", dependencies: [scaleFL]),
        .executableTarget(name: "device-under-test", dependencies: ["Scene", scaleFL]),
        .testTarget(name: "ScaleFLTests", dependencies: ["Scene", scaleFL]),
    ]
)
