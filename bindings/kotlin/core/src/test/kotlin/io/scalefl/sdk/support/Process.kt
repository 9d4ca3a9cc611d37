package io.scalefl.sdk.support

import java.io.File
import java.lang.management.ManagementFactory
import java.lang.management.MemoryType
import java.nio.file.Files

/** Files, locks and memory of a process, as Linux tells them. */
object ProcessFacts {
    /** Resident memory in bytes. */
    fun resident(): Long {
        val line = File("/proc/self/status").readLines().first { it.startsWith("VmRSS:") }
        return line.filter(Char::isDigit).toLong() * 1024
    }

    /** Bytes of the JVM for its own code and classes: it compiles what runs often. */
    fun codeOfTheJvm(): Long =
        ManagementFactory.getMemoryPoolMXBeans().filter { it.type == MemoryType.NON_HEAP }.sumOf { it.usage.committed }

    /** What is open: paths of files; sockets and pipes without their numbers. */
    fun open(): List<String> = File("/proc/self/fd").listFiles().orEmpty()
        .mapNotNull { runCatching { Files.readSymbolicLink(it.toPath()).toString() }.getOrNull() }
        // The listing itself.
        .filterNot { it.startsWith("/proc/") }

    /** Locks that this process holds: device and inode of each file, as `/proc/locks` has them. */
    fun locks(): Set<String> {
        val own = ProcessHandle.current().pid().toString()
        return File("/proc/locks").readLines().map { it.trim().split(Regex("\\s+")) }.filter { own in it }.map { it[5] }.toSet()
    }
}

/** A device in a process of its own (`DeviceUnderTest`), which a test can kill. */
class DeviceProcess(scene: Scene, folder: File, vararg arguments: String) : AutoCloseable {
    private val process = ProcessBuilder(
        listOf(
            File(System.getProperty("java.home"), "bin/java").path,
            "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-cp", System.getProperty("java.class.path"),
            "io.scalefl.sdk.DeviceUnderTestKt",
            scene.url, scene.taskKey, folder.path, scene.step.toString(),
        ) + arguments,
    ).redirectError(ProcessBuilder.Redirect.INHERIT).start()
    private val lines = process.inputReader()

    /** The next line: a map with the field `is`. */
    fun line(): Map<*, *> {
        val line = lines.readLine() ?: error("the device ended with ${process.waitFor()}")
        return Json.read(line) as Map<*, *>
    }

    /** Reads lines up to the first that [wanted] accepts. */
    fun until(wanted: (Map<*, *>) -> Boolean): Map<*, *> {
        while (true) line().let { if (wanted(it)) return it }
    }

    /** What the participation came to. */
    fun outcome(): Map<*, *> = until { it["is"] == "outcome" || it["is"] == "error" }

    /** Ends it as the system does: SIGKILL. */
    fun kill() {
        process.destroyForcibly().waitFor()
    }

    /** Waits for its end. */
    fun end() {
        process.waitFor()
    }

    override fun close() = kill()
}
