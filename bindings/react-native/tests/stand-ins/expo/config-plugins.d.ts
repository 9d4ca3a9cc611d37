export * from '@expo/config-plugins';
