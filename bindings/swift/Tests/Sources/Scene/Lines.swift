import Foundation

/// A child process that writes lines.
final class LinesProcess: @unchecked Sendable {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()

    /// - Parameters:
    ///   - line: Called with every line, on a thread of its own.
    ///   - end: Called after the last line.
    init(
        _ program: String, _ arguments: [String] = [],
        line: @escaping @Sendable (String) -> Void,
        end: @escaping @Sendable () -> Void
    ) throws {
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        let reading = output.fileHandleForReading
        let thread = Thread {
            var rest = Data()
            while true {
                let some = reading.availableData
                if some.isEmpty { break }
                rest.append(some)
                while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
                    line(String(decoding: rest[rest.startIndex..<newline], as: UTF8.self))
                    rest = Data(rest[rest.index(after: newline)...])
                }
            }
            end()
        }
        thread.start()
    }

    func write(_ line: Data) throws {
        try input.fileHandleForWriting.write(contentsOf: line + Data("\n".utf8))
    }

    /// Ends the process as the system does: it notices nothing.
    func kill() {
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// Waits for the end of the process. Its input ends first.
    func close() {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }
}
