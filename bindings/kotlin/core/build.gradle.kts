// The library for the JVM: desktop, servers and tests. Android takes the project beside this one.
plugins {
    id("org.jetbrains.kotlin.jvm")
    `maven-publish`
}

kotlin {
    jvmToolchain(17)
    sourceSets["main"].kotlin.srcDir("../generated/jvm")
}

// The native library, under the name by which JNA finds it in a jar.
sourceSets["main"].resources.srcDir("../natives")

dependencies {
    api("org.jetbrains.kotlinx:kotlinx-coroutines-core:1.10.2")
    implementation("net.java.dev.jna:jna:5.17.0")
}

java { withSourcesJar() }

publishing {
    publications.create<MavenPublication>("jvm") {
        artifactId = "scale-fl"
        from(components["java"])
    }
}
