// swift-tools-version:6.0

// The package as apps use it. In the repository it is not complete: `cargo xtask bindings --swift` puts the generated
// sources and the library beside it, into target/bindings/swift, and a release holds that folder.

import Foundation
import PackageDescription

/// The XCFramework of a release, as the release workflow fills it in.
let released: (url: String, checksum: String)? = nil

/// The library on Linux, beside this file.
let shared = "lib/libscale_fl_sdk.so"

func isHere(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(path)")
}

/// The library's C interface, and on Apple platforms the library itself.
func interface() -> Target {
    #if os(Linux)
    return .systemLibrary(name: "ScaleFLFFI", pkgConfig: isHere(shared) ? nil : "scale_fl_sdk")
    #else
    if isHere("ScaleFLFFI.xcframework") {
        return .binaryTarget(name: "ScaleFLFFI", path: "ScaleFLFFI.xcframework")
    }
    guard let released else {
        fatalError("ScaleFLFFI.xcframework is not here: make it with `cargo xtask bindings --xcframework`, or use a release")
    }
    return .binaryTarget(name: "ScaleFLFFI", url: released.url, checksum: released.checksum)
    #endif
}

/// How to link. On Linux the library lies beside this file, which works in packages that are used by their path; otherwise
/// pkg-config has to find it, under the name scale_fl_sdk.
func linking() -> [LinkerSetting] {
    #if os(Linux)
    let folder = "\(Context.packageDirectory)/lib"
    let found = isHere(shared)
    let search: [LinkerSetting] = found ? [.unsafeFlags(["-L\(folder)", "-Xlinker", "-rpath", "-Xlinker", folder])] : []
    return search + [.linkedLibrary("scale_fl_sdk")]
    #else
    return []
    #endif
}

let package = Package(
    name: "ScaleFL",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "ScaleFL", targets: ["ScaleFL"])],
    targets: [
        interface(),
        .target(
            name: "ScaleFL",
            dependencies: ["ScaleFLFFI"],
            resources: [.copy("Resources/PrivacyInfo.xcprivacy")],
            // The generated part does not compile in the mode of Swift 6. Apps may use it.
            swiftSettings: [.swiftLanguageMode(.v5)],
            linkerSettings: linking()
        ),
    ]
)
