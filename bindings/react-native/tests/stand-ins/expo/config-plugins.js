// As Expo's own file of this name.
module.exports = require('@expo/config-plugins');
