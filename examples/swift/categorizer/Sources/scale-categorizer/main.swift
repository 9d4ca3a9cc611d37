// A device on the command line: it imports a person's transactions, categorizes them, learns from corrections in rounds with
// other devices, and shows what that has revealed.

import Foundation
import ScaleFL

func fail(_ sentence: String, code: Int32) -> Never {
    FileHandle.standardError.write(Data("scale-categorizer: \(sentence)\n".utf8))
    exit(code)
}

do {
    let words = Array(CommandLine.arguments.dropFirst())
    guard let arguments = try Arguments(words, environment: ProcessInfo.processInfo.environment) else {
        print(Arguments.help)
        exit(0)
    }
    let work = Task {
        let categorizer = try Categorizer(arguments)
        try await categorizer.run()
        try await categorizer.client.close()
    }
    // Ctrl-C: the device leaves its round properly.
    signal(SIGINT, SIG_IGN)
    let interrupt = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
    interrupt.setEventHandler { work.cancel() }
    interrupt.resume()
    try await work.value
} catch let misuse as Misuse {
    fail("\(misuse); see --help", code: 2)
} catch let error as ScaleError {
    ProgressLine.clear()
    fail(error.sentence, code: 1)
} catch is CancellationError {
    ProgressLine.clear()
    fail("interrupted", code: 1)
} catch {
    fail("\(error)", code: 1)
}
