<?php
// Written at the first start. The database's settings come from the environment at each request; the rest is
// the site's own, and may be edited.

if (!function_exists('from_environment')) {
    // The file that NAME_FILE names, else NAME, else what is given.
    function from_environment($name, $otherwise) {
        $file = getenv($name . '_FILE');
        if ($file) {
            return rtrim(file_get_contents($file), "\r\n");
        }
        $value = getenv($name);
        return $value === false ? $otherwise : $value;
    }
}

define('DB_NAME', from_environment('WORDPRESS_DB_NAME', 'wordpress'));
define('DB_USER', from_environment('WORDPRESS_DB_USER', 'wordpress'));
define('DB_PASSWORD', from_environment('WORDPRESS_DB_PASSWORD', ''));
define('DB_HOST', from_environment('WORDPRESS_DB_HOST', 'mysql'));
define('DB_CHARSET', from_environment('WORDPRESS_DB_CHARSET', 'utf8mb4'));
define('DB_COLLATE', from_environment('WORDPRESS_DB_COLLATE', ''));

define('AUTH_KEY', '@RANDOM@');
define('SECURE_AUTH_KEY', '@RANDOM@');
define('LOGGED_IN_KEY', '@RANDOM@');
define('NONCE_KEY', '@RANDOM@');
define('AUTH_SALT', '@RANDOM@');
define('SECURE_AUTH_SALT', '@RANDOM@');
define('LOGGED_IN_SALT', '@RANDOM@');
define('NONCE_SALT', '@RANDOM@');

$table_prefix = from_environment('WORDPRESS_TABLE_PREFIX', 'wp_');
define('WP_DEBUG', (bool) from_environment('WORDPRESS_DEBUG', ''));

// A proxy in front says what the browser spoke.
if (strpos($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '', 'https') !== false) {
    $_SERVER['HTTPS'] = 'on';
}

$extra = from_environment('WORDPRESS_CONFIG_EXTRA', '');
if ($extra) {
    eval($extra);
}

if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
