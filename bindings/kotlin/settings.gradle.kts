pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode.set(RepositoriesMode.FAIL_ON_PROJECT_REPOS)
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "scale-fl"
include(":core")

// The AAR needs the Android SDK; the JVM's jar does not.
if (System.getenv("ANDROID_HOME") != null || file("local.properties").exists()) {
    include(":android")
}
