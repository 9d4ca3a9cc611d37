import Foundation

/// A program that runs to its end.
public struct Program: Sendable {
    public let status: Int32
    public let output: String
    public let errors: String

    /// Runs the program that the variable names.
    ///
    /// - Parameter environment: In addition to this process's own.
    public static func run(
        _ variable: String, _ arguments: [String] = [], environment: [String: String] = [:],
        patience: Duration = .seconds(90)
    ) async throws -> Program {
        guard let path = ProcessInfo.processInfo.environment[variable] else {
            throw Trouble("\(variable) must name a program: run `cargo xtask bindings --swift --test`")
        }
        // Files: a pipe that nobody reads would stop a program that says much.
        let folder = URL(fileURLWithPath: try Place.newFolder())
        let files = ["output", "errors"].map { folder.appendingPathComponent($0) }
        for file in files { try Data().write(to: file) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try FileHandle(forWritingTo: files[0])
        process.standardError = try FileHandle(forWritingTo: files[1])
        try process.run()
        let end = ContinuousClock.now + patience
        while process.isRunning {
            if ContinuousClock.now > end {
                process.terminate()
                throw Trouble("\(path) \(arguments) goes on after \(patience)")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        let said = try files.map { try String(contentsOf: $0, encoding: .utf8) }
        try FileManager.default.removeItem(at: folder)
        return Program(status: process.terminationStatus, output: said[0], errors: said[1])
    }
}
