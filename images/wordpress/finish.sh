# The package spreads the program over the system, with links between; upstream's image copies one directory
# onto the volume.
mkdir -p /usr/src
cp -rL /usr/share/wordpress /usr/src/wordpress
rm -rf /usr/share/wordpress /var/lib/wordpress /etc/wordpress /usr/src/wordpress/wp-config.php /usr/src/wordpress/.htaccess
mkdir -p /usr/src/wordpress/wp-content/plugins /usr/src/wordpress/wp-content/uploads
cat >/usr/src/wordpress/.htaccess <<'END'
# BEGIN WordPress
RewriteEngine On
RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
RewriteBase /
RewriteRule ^index\.php$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . /index.php [L]
# END WordPress
END
chown -R www-data:www-data /usr/src/wordpress

a2enmod -q rewrite expires
cat >/etc/apache2/conf-enabled/container.conf <<'END'
ServerName localhost
<Directory /var/www/>
    AllowOverride All
</Directory>
END
# The volume begins as this directory is.
rm -rf /var/www/html
install -d -m 1777 -o www-data -g www-data /var/www/html
ln -sf /dev/stdout /var/log/apache2/access.log
ln -sf /dev/stdout /var/log/apache2/other_vhosts_access.log
ln -sf /dev/stderr /var/log/apache2/error.log
