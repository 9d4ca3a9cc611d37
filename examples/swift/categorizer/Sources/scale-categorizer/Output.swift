import Foundation

/// What the person sees: text, or one JSON document.
struct Output {
    let json: Bool

    func line(_ text: @autoclosure () -> String) {
        if !json { print(text()) }
    }

    func document(_ text: @autoclosure () throws -> String) rethrows {
        if json { print(try text()) }
    }

    /// A JSON object of a few fields.
    func object(_ fields: [String: any Sendable]) throws {
        try document(
            String(decoding: JSONSerialization.data(withJSONObject: fields, options: [.sortedKeys]), as: UTF8.self))
    }
}

/// Progress on one line of a terminal, which is overwritten. Nothing if nobody watches.
enum ProgressLine {
    private static let isWatched = isatty(2) == 1

    static func show(permille: UInt32, sentence: String) {
        guard isWatched else { return }
        let percent = String(format: "%5.1f", Double(permille) / 10)
        write("\r\u{1b}[K\(percent) %  \(sentence)")
    }

    static func clear() {
        if isWatched { write("\r\u{1b}[K") }
    }

    private static func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}

/// A time of the library, for people.
func shown(_ milliseconds: UInt64) -> String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.dateFormat = "yyyy-MM-dd HH:mm:ss"
    return formatter.string(from: Date(timeIntervalSince1970: Double(milliseconds) / 1000))
}
